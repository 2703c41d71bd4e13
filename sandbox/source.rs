//! What a script must look like before the parser sees it. Reads text only, never evaluates.

/// Longest script, in bytes.
pub(crate) const MAX_SOURCE_BYTES: usize = 16 * 1024;

/// Why a source is refused, and where.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct SourceFault {
    /// First line is 1.
    pub(crate) line: u32,
    /// One sentence for the author of the script.
    pub(crate) message: &'static str,
}

/// Refuses a source that is too long, hides text from its reader or does not end in `return`.
///
/// # Errors
/// [`SourceFault`] for the first thing found.
pub(crate) fn check(source: &str) -> Result<(), SourceFault> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(SourceFault { line: 1, message: "the script is longer than 16 KiB" });
    }
    let code = Scanner::new(source).code()?;
    if ends_in_return(&code) {
        return Ok(());
    }
    let line = 1 + u32::try_from(source.trim_end().matches('\n').count()).unwrap_or(u32::MAX - 1);
    Err(SourceFault { line, message: "the last statement must be an explicit `return`" })
}

/// Invisible or direction-changing characters: they make a text read differently from what it does.
fn hides_text(c: char) -> bool {
    matches!(c,
        '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Copies the code and drops the text of comments and literals.
struct Scanner<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    line: u32,
    code: String,
}

impl<'a> Scanner<'a> {
    fn new(source: &'a str) -> Self {
        Self { rest: source.chars().peekable(), line: 1, code: String::with_capacity(source.len()) }
    }

    fn code(mut self) -> Result<String, SourceFault> {
        // Brace depth of the code inside each open `${`; the last one is the innermost.
        let mut templates: Vec<u32> = Vec::new();
        while let Some(c) = self.next()? {
            match c {
                '/' if self.rest.peek() == Some(&'/') => self.line_comment()?,
                '/' if self.rest.peek() == Some(&'*') => self.block_comment()?,
                '"' | '\'' => self.quoted(c)?,
                '#' if matches!(self.rest.peek(), Some('"' | '#')) => self.raw()?,
                '`' => {
                    if self.template()? {
                        templates.push(0);
                    }
                }
                '}' if templates.last() == Some(&0) => {
                    templates.pop();
                    self.code.push(')');
                    if self.template()? {
                        templates.push(0);
                    }
                }
                c if c.is_ascii() => {
                    match (c, templates.last_mut()) {
                        ('{', Some(depth)) => *depth += 1,
                        ('}', Some(depth)) => *depth -= 1,
                        _ => {}
                    }
                    self.code.push(c);
                }
                _ => return self.fault("only ASCII is allowed outside strings and comments"),
            }
        }
        if templates.is_empty() { Ok(self.code) } else { self.fault("a template string is not closed") }
    }

    fn next(&mut self) -> Result<Option<char>, SourceFault> {
        let Some(c) = self.rest.next() else { return Ok(None) };
        match c {
            '\n' => self.line += 1,
            '\t' => {}
            '\r' if self.rest.peek() == Some(&'\n') => {}
            c if c.is_control() => return self.fault("control characters are not allowed"),
            c if hides_text(c) => return self.fault("invisible or direction-changing characters are not allowed"),
            _ => {}
        }
        Ok(Some(c))
    }

    fn fault<T>(&self, message: &'static str) -> Result<T, SourceFault> {
        Err(SourceFault { line: self.line, message })
    }

    fn line_comment(&mut self) -> Result<(), SourceFault> {
        while let Some(c) = self.next()? {
            if c == '\n' {
                break;
            }
        }
        self.code.push('\n');
        Ok(())
    }

    fn block_comment(&mut self) -> Result<(), SourceFault> {
        let mut depth = 0_u32;
        let mut before = '/';
        while let Some(c) = self.next()? {
            match (before, c) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => {
                    before = c;
                    continue;
                }
            }
            if depth == 0 {
                self.code.push(' ');
                return Ok(());
            }
            // A character belongs to one marker only: `/*/` opens and does not close.
            before = ' ';
        }
        self.fault("a comment is not closed")
    }

    fn quoted(&mut self, quote: char) -> Result<(), SourceFault> {
        self.code.push('"');
        while let Some(c) = self.next()? {
            match c {
                '\\' => {
                    self.next()?;
                }
                '\n' => return self.fault("a string is not closed on its line"),
                c if c == quote => {
                    if self.rest.peek() != Some(&quote) {
                        self.code.push('"');
                        return Ok(());
                    }
                    self.next()?;
                }
                _ => {}
            }
        }
        self.fault("a string is not closed")
    }

    fn raw(&mut self) -> Result<(), SourceFault> {
        let mut hashes = 1_usize;
        loop {
            match self.next()? {
                Some('#') => hashes += 1,
                Some('"') => break,
                _ => return self.fault("a `#` must open a map or a raw string"),
            }
        }
        let mut seen = None;
        while let Some(c) = self.next()? {
            seen = match (c, seen) {
                ('"', _) => Some(0),
                ('#', Some(count)) if count + 1 == hashes => {
                    self.code.push_str("\"\"");
                    return Ok(());
                }
                ('#', Some(count)) => Some(count + 1),
                _ => None,
            };
        }
        self.fault("a raw string is not closed")
    }

    /// Reads template text; true when it stopped at a `${`, false when the template closed.
    fn template(&mut self) -> Result<bool, SourceFault> {
        while let Some(c) = self.next()? {
            match (c, self.rest.peek()) {
                ('\\', Some('$')) => {
                    self.next()?;
                }
                ('$', Some('{')) => {
                    self.next()?;
                    self.code.push('(');
                    return Ok(true);
                }
                ('`', Some('`')) => {
                    self.next()?;
                }
                ('`', _) => {
                    self.code.push('"');
                    return Ok(false);
                }
                _ => {}
            }
        }
        self.fault("a template string is not closed")
    }
}

/// Whether the last statement outside all brackets is a `return`.
fn ends_in_return(code: &str) -> bool {
    let mut depth = 0_u32;
    let mut start_of_statement = true;
    let mut in_return = false;
    let mut word = String::new();
    for c in code.chars().chain([';']) {
        if c.is_ascii_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        }
        if !word.is_empty() && depth == 0 {
            if start_of_statement {
                in_return = word == "return";
            }
            start_of_statement = false;
        }
        word.clear();
        match c {
            '(' | '[' | '{' => {
                if depth == 0 && start_of_statement {
                    in_return = false;
                    start_of_statement = false;
                }
                depth += 1;
            }
            ')' | ']' => depth = depth.saturating_sub(1),
            '}' => {
                depth = depth.saturating_sub(1);
                // A block may end a statement without `;`, unless it is a map or body inside a `return`.
                start_of_statement |= depth == 0 && !in_return;
            }
            ';' if depth == 0 => start_of_statement = true,
            c if !c.is_whitespace() && depth == 0 && start_of_statement => {
                in_return = false;
                start_of_statement = false;
            }
            _ => {}
        }
    }
    in_return && depth == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(source: &str) -> SourceFault {
        check(source).expect_err(source)
    }

    #[test]
    fn ordinary_scripts_pass() {
        for source in [
            "return []",
            "return #{a: 1, b: #{c: \"}\"}};",
            "let x = 1; // größer\nreturn [x];\n",
            "fn f(x) { return x; }\nreturn f(\"a\");",
            "if input.a { return \"x\" }\nreturn \"y\"",
            "/* outer /* inner */ still */ return `a ${ #{b: 1}.b } \\${c} ${`n ${1}`}`;",
            "return \"say \"\"hi\"\" \\\" ;\";",
            "return ##\"raw \"# ; } text\"##;",
            "let c = '}'; let s = \"日本語\"; return s + c;",
            "return switch input.a { 1 => [\"x\"], _ => [] };",
            "for x in [1] { x; }\nreturn [1]",
        ] {
            assert_eq!(check(source), Ok(()), "{source}");
        }
    }

    #[test]
    fn a_script_must_end_in_return() {
        for source in [
            "",
            "[1]",
            "return [1]; let x = 2;",
            "if true { return 1 } else { return 2 }",
            "fn f() { return 1 }",
            "// return 1",
            "\"return 1\"",
            "returning()",
            "return 1; (2)",
            "let f = || { return 1 };",
        ] {
            assert!(refused(source).message.contains("return"), "{source}");
        }
    }

    #[test]
    fn text_that_deceives_its_reader_is_refused() {
        for source in [
            "let p\u{0430}y = 1; return [];",
            "return []; // \u{202e}txet",
            "/* \u{2066} */ return [];",
            "return \"a\u{200b}b\"",
            "return `a\u{feff}`",
            "return \"\u{1b}[2J\"",
            "return []\u{0}",
            "return []\r",
            "return\u{00a0}[]",
            "return \"\u{e0041}\"",
        ] {
            check(source).expect_err(source);
        }
    }

    #[test]
    fn what_is_open_at_the_end_is_refused() {
        for source in
            ["/* return []", "/*/ return []", "return \"x", "return `x", "return `${1`", "return #\"x\"", "return 'x"]
        {
            check(source).expect_err(source);
        }
    }

    #[test]
    fn faults_name_their_line_and_length_is_bounded() {
        assert_eq!(refused("let a = 1;\n\nlet \u{0431} = 2; return a").line, 3);
        assert_eq!(refused("let a = 1;\na\n").line, 2);
        let long = format!("return \"{}\"", "x".repeat(MAX_SOURCE_BYTES));
        assert!(refused(&long).message.contains("16 KiB"));
    }
}
