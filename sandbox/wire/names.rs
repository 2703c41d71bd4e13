//! What the functions of a run may be called. Checked on both ends: the broker to tell its caller, the
//! worker because it trusts nobody.

/// Most observations, and most step constructors, of one run.
const MAX_NAMES: usize = 256;

/// Longest name, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// Checks the names of a run's observations and step constructors.
///
/// # Errors
/// A sentence about the first name that is too long, not lower case letters, digits and `_` after a letter,
/// or there twice; or about too many of them.
pub fn check_names(queries: &[String], steps: &[String]) -> Result<(), String> {
    if queries.len() > MAX_NAMES || steps.len() > MAX_NAMES {
        return Err(format!("a run has more than {MAX_NAMES} observations or step constructors"));
    }
    let mut names: Vec<&str> = queries.iter().chain(steps).map(String::as_str).collect();
    names.sort_unstable();
    if let Some(name) = names.iter().find(|name| !is_sound(name)) {
        return Err(format!("{:?} is not a function name", name.chars().take(MAX_NAME_BYTES).collect::<String>()));
    }
    // A query and a step of one name would hide each other.
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("the function name {:?} is there twice", pair[0])),
        None => Ok(()),
    }
}

fn is_sound(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn function_names_pass() {
        assert_eq!(check_names(&owned(&["logs", "q2"]), &owned(&["scale_workload"])), Ok(()));
        assert_eq!(check_names(&[], &[]), Ok(()));
    }

    #[test]
    fn other_names_do_not() {
        let long = "a".repeat(65);
        for name in ["", "A", "1a", "_a", "a-b", "a.b", "a b", "a\u{430}", &long] {
            assert!(check_names(&owned(&[name]), &[]).is_err(), "{name}");
            assert!(check_names(&[], &owned(&[name])).is_err(), "{name}");
        }
        assert!(check_names(&owned(&["a"]), &owned(&["a"])).is_err());
        let many: Vec<String> = (0..=MAX_NAMES).map(|i| format!("q{i}")).collect();
        assert!(check_names(&many, &[]).is_err());
    }
}
