//! What the names of replicas say by the way platforms make them. Never more than the form of a name.

/// The workload of a pod whose name has the form that a Deployment (`web-7f9dd8b6c4-x7gr9`), a DaemonSet
/// (`agent-x7gr9`) or a StatefulSet (`db-0`) gives it.
pub(crate) fn workload_of_pod(name: &str) -> Option<&str> {
    let (rest, last) = name.rsplit_once('-')?;
    if rest.is_empty() {
        return None;
    }
    let made = |word: &str| word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let digit = |word: &str| word.bytes().any(|b| b.is_ascii_digit());
    if let Some((workload, hash)) = rest.rsplit_once('-')
        && (6..=10).contains(&hash.len())
        && made(hash)
        && digit(hash)
        && (4..=5).contains(&last.len())
        && made(last)
        && !workload.is_empty()
    {
        return Some(workload);
    }
    if last.len() <= 3 && !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()) {
        return Some(rest);
    }
    // Random endings have no vowels, so that they spell no words.
    let random = last.len() == 5 && made(last) && digit(last) && !last.bytes().any(|b| b"aeiou013".contains(&b));
    random.then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::workload_of_pod;

    #[test]
    fn forms_of_names() {
        for (pod, workload) in [
            ("payments-api-7f9dd8b6c4-x7gr9", Some("payments-api")),
            ("web-6c4ab5d9c-old1", Some("web")),
            ("db-0", Some("db")),
            ("agent-x7gr9", Some("agent")),
            ("checkout-service", None),
            ("user-service", None),
            ("api-v2", None),
            ("web", None),
            ("-0", None),
            ("", None),
        ] {
            assert_eq!(workload_of_pod(pod), workload, "{pod}");
        }
    }
}
