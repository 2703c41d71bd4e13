//! Text to values: one broken document never takes the others of its file with it.

use serde_json::Value;

/// Broken documents of one file that are reported one by one.
const BROKEN_MAX: usize = 5;
/// Deepest nesting of a document.
const DEPTH_MAX: usize = 100;

/// What a file held.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) values: Vec<Value>,
    pub(super) broken: Vec<String>,
}

impl Read {
    fn fail(&mut self, reason: String) {
        match self.broken.len() {
            0..BROKEN_MAX => self.broken.push(reason),
            BROKEN_MAX => self.broken.push("and more broken documents".to_owned()),
            _ => {}
        }
    }
}

/// JSON, one value or several one after the other.
pub(super) fn json(text: &str) -> Read {
    let mut read = Read::default();
    for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        match value {
            Ok(value) => read.values.push(value),
            Err(error) => {
                read.fail(format!(
                    "not JSON from line {}, column {} on: {}",
                    error.line(),
                    error.column(),
                    plain(&error.to_string())
                ));
                break;
            }
        }
    }
    read
}

/// YAML of any number of documents.
pub(super) fn yaml(text: &str) -> Read {
    let mut read = Read::default();
    for (line, document) in split(text) {
        if document.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            continue;
        }
        match serde_saphyr::from_str_with_options::<Value>(document, options()) {
            Ok(Value::Null) => {}
            Ok(value) => read.values.push(value),
            Err(error) => {
                let at = error
                    .location()
                    .map_or(line, |at| line + usize::try_from(at.line()).unwrap_or(1).saturating_sub(1));
                read.fail(format!("not YAML at line {at}: {}", plain(&error.to_string())));
            }
        }
    }
    read
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 50_000_000,
            max_nodes: 20_000_000,
            max_total_scalar_bytes: 512 * 1024 * 1024,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_depth: DEPTH_MAX,
        },
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::LastWins,
        with_snippet: false,
    }
}

/// First line and its number, without what a parser adds over several lines.
fn plain(message: &str) -> String {
    message.lines().next().unwrap_or_default().chars().take(200).collect()
}

/// Documents with the number of their first line. A marker starts a line; inside a block it is indented.
fn split(text: &str) -> Vec<(usize, &str)> {
    let mut documents = Vec::new();
    let (mut start, mut first, mut at) = (0, 1, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let bare = line.trim_end();
        if bare == "---" || bare == "..." || bare.starts_with("--- ") {
            documents.push((first, &text[start..at]));
            let content = bare.strip_prefix("--- ").is_some_and(|rest| !rest.trim_start().starts_with(['#', '%']));
            start = if content { at + 4 } else { at + line.len() };
            first = number + if content { 1 } else { 2 };
        }
        at += line.len();
    }
    documents.push((first, &text[start..]));
    documents
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_document_leaves_the_others() {
        let read = yaml("# head\n---\nkind: A\n---\nkind: [unclosed\n---\nkind: B\ntext: |\n  ---\n  inner\n...\n");
        let kinds: Vec<&str> = read.values.iter().map(|value| value["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["A", "B"]);
        assert_eq!(read.broken.len(), 1);
        assert!(read.broken[0].starts_with("not YAML at line 5"), "{}", read.broken[0]);
        let read = json("{\"kind\":\"A\"}\n{\"kind\":\"B\"} {\"kind\":");
        assert_eq!((read.values.len(), read.broken.len()), (2, 1));
    }

    #[test]
    fn bombs_and_abysses_are_refused() {
        let mut bomb = String::from("a: &a [x,x,x,x,x,x,x,x,x,x]\n");
        for level in 1..12 {
            let (now, before) = (char::from(b'a' + level), char::from(b'a' + level - 1));
            let refs = vec![format!("*{before}"); 10].join(",");
            bomb.push_str(&format!("{now}: &{now} [{refs}]\n"));
        }
        assert_eq!(yaml(&bomb).values.len(), 0);
        assert_eq!(yaml(&"[".repeat(100_000)).values.len(), 0);
        assert_eq!(json(&"[".repeat(100_000)).values.len(), 0);
    }

    #[test]
    fn quoted_words_stay_words() {
        let read = yaml("a: \"1\"\nb: 1\nc: 'yes'\nd: 0644\ne: 1e3\nf: ~\ng: .nan\n");
        let Some(value) = read.values.first() else {
            // Not a number is no JSON: the document may be refused, but only as a whole and with a word.
            assert_eq!(read.broken.len(), 1);
            return;
        };
        assert_eq!((value["a"].as_str(), value["b"].as_i64(), value["c"].as_str()), (Some("1"), Some(1), Some("yes")));
    }
}
