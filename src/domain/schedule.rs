//! What is done again and again: when, what, and how late it may still be done. Pure nouns; never reads a
//! clock and knows no time zones.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::action::Action;
use crate::name::{Id, Workspace};

/// Shortest and longest period of [`When::Every`].
pub const MINUTES: std::ops::RangeInclusive<u32> = 1..=44_640;
/// Longest cron expression, in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 120;
/// How late a missed firing may still run, at most: a week.
pub const LATE_MINUTES_MAX: u32 = 7 * 24 * 60;
/// The same where nothing else is said.
pub const LATE_MINUTES_DEFAULT: u32 = 60;

/// When something is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum When {
    /// Five cron fields (minute, hour, day of month, month, day of week), read in a time zone.
    Cron {
        /// The fields, or a nickname such as `@daily`.
        expression: String,
        /// An IANA name such as `Europe/Berlin`.
        zone: String,
    },
    /// Every so many minutes, counted from the moment it was made.
    Every {
        /// The period.
        minutes: u32,
    },
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cron { expression, zone } => write!(f, "{expression} ({zone})"),
            Self::Every { minutes: 1 } => f.write_str("every minute"),
            Self::Every { minutes } => write!(f, "every {minutes} minutes"),
        }
    }
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Work {
    /// Ask for one typed action.
    Act {
        /// Which.
        action: Box<Action>,
    },
    /// Run a tool; what it proposes goes to the gate.
    Tool {
        /// Its name.
        tool: String,
        /// Its input.
        input: Value,
    },
    /// Ask a question.
    Ask {
        /// The words.
        text: String,
    },
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Act { action } => write!(f, "{} {}", action.kind().facts().name, action.resource()),
            Self::Tool { tool, .. } => write!(f, "tool {tool}"),
            Self::Ask { text } => {
                let short: String = text.chars().take(80).collect();
                write!(f, "ask \"{}\"", crate::label::visible(&short).replace('\n', " "))
            }
        }
    }
}

/// A schedule as its maker wants it. Whose it is stands in the record: who made it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Its name, unique inside the workspace.
    pub name: Id,
    /// Where it works.
    pub workspace: Workspace,
    /// When.
    pub when: When,
    /// What.
    pub work: Work,
    /// A firing that was missed (the service was down, the clock jumped) runs once if it is at most this late.
    pub late_minutes: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_read_well() {
        let daily = When::Cron { expression: "0 3 * * *".into(), zone: "Europe/Berlin".into() };
        assert_eq!(daily.to_string(), "0 3 * * * (Europe/Berlin)");
        assert_eq!(When::Every { minutes: 1 }.to_string(), "every minute");
        assert_eq!(When::Every { minutes: 15 }.to_string(), "every 15 minutes");
        assert_eq!(Work::Ask { text: "ok\u{202e}?".into() }.to_string(), "ask \"ok\\u{202e}?\"");
    }

    #[test]
    fn unknown_keys_are_refused() {
        let text = r#"{"kind": "every", "minutes": 5, "seconds": 1}"#;
        assert!(serde_json::from_str::<When>(text).is_err());
    }
}
