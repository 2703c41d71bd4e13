//! Log lines in the dialect of the service: JSON in two shapes, logfmt, and plain text with traces.
//! Must never lose the multi-line nature of a trace where real programs write one.

use crate::clock;
use crate::release::{Dialect, Release};
use serde_json::{Map, Value};
use std::io::Write;

/// Where a service writes what happens.
#[derive(Debug, Clone)]
pub(super) struct Log {
    dialect: Dialect,
    service: String,
    version: String,
    floor: u8,
}

fn rank(level: &str) -> u8 {
    match level {
        "trace" => 0,
        "debug" => 1,
        "info" => 2,
        "warn" => 3,
        _ => 4,
    }
}

fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && c != '"' && c != '=';
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { format!("{text:?}") }
}

impl Log {
    pub(super) fn new(release: &Release, level: &str) -> Self {
        Self {
            dialect: release.dialect,
            service: release.service.clone(),
            version: release.version.clone(),
            floor: rank(&level.to_ascii_lowercase()).min(rank("error")),
        }
    }

    pub(super) fn writes(&self, level: &str) -> bool {
        rank(level) >= self.floor
    }

    /// Writes one event; `trace` are the lines of a stack trace, innermost first.
    pub(super) fn write(&self, level: &str, message: &str, fields: &[(&str, String)], trace: &[String]) {
        if !self.writes(level) {
            return;
        }
        let text = self.render(clock::now_ms(), level, message, fields, trace);
        // A closed pipe must not end the service.
        let _ = if self.dialect == Dialect::Plain && rank(level) >= rank("warn") {
            std::io::stderr().lock().write_all(text.as_bytes())
        } else {
            std::io::stdout().lock().write_all(text.as_bytes())
        };
    }

    fn render(&self, at_ms: u64, level: &str, message: &str, fields: &[(&str, String)], trace: &[String]) -> String {
        let (date, time, ms) = clock::parts(at_ms);
        let stamp = format!("{date}T{time}.{ms:03}Z");
        let after = || trace.iter().map(|line| format!("    at {line}\n")).collect::<String>();
        match self.dialect {
            Dialect::Json => self.json(["ts", "level", "msg"], &stamp, level, message, fields, trace),
            Dialect::Severity => {
                let severity = level.to_ascii_uppercase();
                self.json(["timestamp", "severity", "message"], &stamp, &severity, message, fields, trace)
            }
            Dialect::Logfmt => {
                let mut line = format!("ts={stamp} level={level} svc={} msg={}", self.service, quoted(message));
                for (key, value) in fields {
                    line.push_str(&format!(" {key}={}", quoted(value)));
                }
                line + "\n" + &after()
            }
            Dialect::Plain => {
                let worker = at_ms % 7;
                let mut line = format!(
                    "{date} {time},{ms:03} {:<5} [worker-{worker}] c.s.{} - {message}",
                    level.to_ascii_uppercase(),
                    self.service
                );
                for (key, value) in fields {
                    line.push_str(&format!(" {key}={value}"));
                }
                line + "\n" + &after()
            }
        }
    }

    fn json(
        &self,
        [stamp_key, level_key, message_key]: [&str; 3],
        stamp: &str,
        level: &str,
        message: &str,
        fields: &[(&str, String)],
        trace: &[String],
    ) -> String {
        let mut line = Map::new();
        line.insert(stamp_key.to_owned(), stamp.into());
        line.insert(level_key.to_owned(), level.into());
        line.insert("service".to_owned(), self.service.as_str().into());
        line.insert("version".to_owned(), self.version.as_str().into());
        line.insert(message_key.to_owned(), message.into());
        for (key, value) in fields {
            let number = value.parse::<f64>().ok().and_then(serde_json::Number::from_f64);
            line.insert((*key).to_owned(), number.map_or_else(|| value.as_str().into(), Value::Number));
        }
        if !trace.is_empty() {
            line.insert("stack".to_owned(), trace.join("\n    at ").into());
        }
        Value::Object(line).to_string() + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(dialect: Dialect) -> Log {
        Log { dialect, service: "pay".to_owned(), version: "1".to_owned(), floor: 2 }
    }

    #[test]
    fn each_dialect_keeps_message_fields_and_trace() {
        let fields = [("dur_ms", "12".to_owned()), ("who", "a b".to_owned())];
        let trace = ["one".to_owned(), "two".to_owned()];
        for dialect in [Dialect::Json, Dialect::Severity, Dialect::Logfmt, Dialect::Plain] {
            let text = log(dialect).render(0, "error", "it broke", &fields, &trace);
            for part in ["it broke", "12", "a b", "one", "two", "1970-01-01"] {
                assert!(text.contains(part), "{dialect:?}: {text}");
            }
            assert!(text.ends_with('\n'));
        }
        let text = log(Dialect::Json).render(0, "info", "x", &[], &[]);
        assert!(serde_json::from_str::<Value>(&text).is_ok());
    }

    #[test]
    fn levels_below_the_floor_are_not_written() {
        assert!(!log(Dialect::Json).writes("debug"));
        assert!(log(Dialect::Json).writes("info"));
        assert!(log(Dialect::Json).writes("fatal"));
    }
}
