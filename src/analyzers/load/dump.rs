//! The layout of `kubectl cluster-info dump`: lists by namespace, and logs between markers.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::object::{items, kind_word, text};
use crate::objects::{Collection, LogTail};

const START: &str = "==== START logs for container ";
const END: &str = "==== END logs for container ";
/// Most characters kept of a line.
const LINE_CHARS_MAX: usize = 2_000;

type Place = (String, String, String);

/// Takes logs between markers out of a text: what is left, and each log's end.
pub(super) fn split(all: &str, lines_max: usize) -> (std::borrow::Cow<'_, str>, Vec<(Place, LogTail)>) {
    if !all.contains(START) {
        return (all.into(), Vec::new());
    }
    let (mut rest, mut logs) = (String::new(), Vec::new());
    let mut open: Option<(Place, Vec<&str>)> = None;
    for line in all.lines() {
        if let Some(place) = line.strip_prefix(START).and_then(place) {
            open = Some((place, Vec::new()));
        } else if line.starts_with(END) {
            if let Some((place, lines)) = open.take() {
                logs.push((place, LogTail { lines: tail(lines.into_iter(), lines_max) }));
            }
        } else if let Some((_, lines)) = &mut open {
            lines.push(line);
        } else {
            rest.push_str(line);
            rest.push('\n');
        }
    }
    if let Some((place, lines)) = open {
        logs.push((place, LogTail { lines: tail(lines.into_iter(), lines_max) }));
    }
    (rest.into(), logs)
}

/// `web of pod shop/web-1 ====`.
fn place(rest: &str) -> Option<Place> {
    let (container, rest) = rest.split_once(" of pod ")?;
    let (space, pod) = rest.trim_end_matches(['=', ' ']).split_once('/')?;
    Some((space.to_owned(), pod.to_owned(), container.to_owned()))
}

/// The last lines, each cut to a bearable length.
pub(super) fn tail<'a>(lines: impl Iterator<Item = &'a str>, lines_max: usize) -> Vec<String> {
    let mut last = std::collections::VecDeque::with_capacity(lines_max.min(1024));
    for line in lines.filter(|line| !line.trim().is_empty()) {
        if last.len() == lines_max {
            last.pop_front();
        }
        last.push_back(line);
    }
    last.into_iter().map(|line| line.chars().take(LINE_CHARS_MAX).collect()).collect()
}

/// A typed list, such as a PodList, holds every object of its kind: in its namespace, which an empty one has
/// from its folder.
pub(super) fn note_listed(collection: &mut Collection, value: &Value, folder: Option<&str>) {
    let Some(kind) = text(&value["kind"]).strip_suffix("List").filter(|kind| !kind.is_empty()) else { return };
    if !value["items"].is_array() {
        return;
    }
    let kind = kind_word(text(&value["apiVersion"]), kind);
    let spaces: BTreeSet<&str> =
        items(&value["items"]).iter().map(|item| text(&item["metadata"]["namespace"])).collect();
    let mut spaces = spaces.into_iter();
    match (spaces.next(), spaces.next()) {
        (Some(_), Some(_)) => collection.note_listed(&kind, None),
        (Some(space), None) => collection.note_listed(&kind, Some(space)),
        (None, _) => collection.note_listed(&kind, folder),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_taken_out_of_a_dump() {
        let dump = "{\"kind\":\"A\"}\n==== START logs for container web of pod shop/web-1 ====\none\n\ntwo\nthree\n==== END logs for container web of pod shop/web-1 ====\n{\"kind\":\"B\"}\n==== START logs for container x of pod a/b ====\ncut";
        let (rest, logs) = split(dump, 2);
        assert_eq!(rest, "{\"kind\":\"A\"}\n{\"kind\":\"B\"}\n");
        assert_eq!(logs[0].0, ("shop".into(), "web-1".into(), "web".into()));
        assert_eq!(logs[0].1.lines, ["two", "three"]);
        assert_eq!(logs[1].1.lines, ["cut"]);
    }
}
