//! How endpoints differ, as one table. A row says what an endpoint takes; `adapt` moves a row when the
//! endpoint's own refusal says so. Never guesses from a model's name.

/// How a call is offered and made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tools {
    /// The `tools` field and `tool_calls` of the reply.
    Native,
    /// Described in the instructions, made as marked text.
    Textual,
}

/// Where instructions go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// A message of role `system`.
    Role,
    /// In front of the first message of the person.
    Merged,
}

/// Which field bounds the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// `max_tokens`.
    MaxTokens,
    /// `max_completion_tokens`.
    MaxCompletionTokens,
}

/// How much of JSON schema is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Schema {
    /// All of it.
    Full,
    /// Types, enums and nesting only.
    Simple,
    /// As `Simple`, every property required, nothing additional, `strict` set.
    Strict,
}

/// One row: what an endpoint takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// Name for configuration and records.
    pub name: &'static str,
    /// Values of `owned_by` in its list of models that give it away.
    pub owners: &'static [&'static str],
    /// How calls are made.
    pub tools: Tools,
    /// Where instructions go.
    pub system: System,
    /// Which field bounds the reply.
    pub limit: Limit,
    /// How much schema it takes.
    pub schema: Schema,
    /// True if it reports usage at the end of a stream when asked.
    pub asks_usage: bool,
    /// True if it takes a temperature.
    pub temperature: bool,
    /// True if messages of a person and of the model must take turns.
    pub alternates: bool,
    /// True if call ids must be nine letters or digits.
    pub short_ids: bool,
}

/// What most endpoints take; the row for endpoints that are not recognised.
pub const COMPATIBLE: Dialect = Dialect {
    name: "compatible",
    owners: &[],
    tools: Tools::Native,
    system: System::Role,
    limit: Limit::MaxTokens,
    schema: Schema::Simple,
    asks_usage: true,
    temperature: true,
    alternates: false,
    short_ids: false,
};

/// Every row.
pub const DIALECTS: &[Dialect] = &[
    COMPATIBLE,
    Dialect {
        name: "openai",
        owners: &["openai", "openai-internal", "system"],
        limit: Limit::MaxCompletionTokens,
        schema: Schema::Full,
        temperature: false,
        ..COMPATIBLE
    },
    Dialect { name: "ollama", owners: &["library"], ..COMPATIBLE },
    Dialect { name: "vllm", owners: &["vllm"], schema: Schema::Full, ..COMPATIBLE },
    Dialect { name: "llamacpp", owners: &["llamacpp"], ..COMPATIBLE },
    Dialect {
        name: "mistral",
        owners: &["mistralai"],
        schema: Schema::Full,
        asks_usage: false,
        short_ids: true,
        ..COMPATIBLE
    },
    Dialect {
        name: "strict",
        limit: Limit::MaxCompletionTokens,
        schema: Schema::Strict,
        temperature: false,
        ..COMPATIBLE
    },
    Dialect {
        name: "plain",
        tools: Tools::Textual,
        system: System::Merged,
        asks_usage: false,
        temperature: false,
        alternates: true,
        ..COMPATIBLE
    },
];

/// The row called `name`.
pub fn named(name: &str) -> Option<Dialect> {
    DIALECTS.iter().copied().find(|row| row.name == name)
}

/// The row whose endpoint calls itself `owner` in its list of models.
pub fn owned_by(owner: &str) -> Option<Dialect> {
    let owner = owner.to_ascii_lowercase();
    DIALECTS.iter().copied().find(|row| row.owners.contains(&owner.as_str()))
}

/// What a refusal's words mean, and the change that answers it.
struct Remedy {
    /// All of these occur in the refusal, in lower case.
    all: &'static [&'static str],
    /// And one of these, unless empty.
    any: &'static [&'static str],
    /// Makes the change; false if it was made already.
    change: fn(&mut Dialect) -> bool,
}

const UNKNOWN: &[&str] =
    &["support", "unknown", "unrecognized", "not permitted", "unexpected", "extra", "require", "not allowed", "enable"];

fn set<T: PartialEq>(field: &mut T, value: T) -> bool {
    let changed = *field != value;
    *field = value;
    changed
}

/// First match that still changes something wins, so the more telling words come first.
const REMEDIES: &[Remedy] = &[
    Remedy {
        all: &["max_completion_tokens"],
        any: &[],
        change: |row| {
            let other = match row.limit {
                Limit::MaxTokens => Limit::MaxCompletionTokens,
                Limit::MaxCompletionTokens => Limit::MaxTokens,
            };
            set(&mut row.limit, other)
        },
    },
    Remedy { all: &["max_tokens"], any: UNKNOWN, change: |row| set(&mut row.limit, Limit::MaxCompletionTokens) },
    Remedy { all: &["stream_options"], any: &[], change: |row| set(&mut row.asks_usage, false) },
    Remedy { all: &["temperature"], any: &[], change: |row| set(&mut row.temperature, false) },
    Remedy { all: &["alternate"], any: &[], change: |row| set(&mut row.alternates, true) },
    Remedy { all: &["call id", "length of 9"], any: &[], change: |row| set(&mut row.short_ids, true) },
    Remedy {
        all: &["system"],
        any: &["role", "support", "only user", "not allowed"],
        change: |row| set(&mut row.system, System::Merged),
    },
    Remedy {
        all: &[],
        any: &["schema", "additionalproperties", "additional_properties", "'strict'", "'format'"],
        change: |row| match row.schema {
            Schema::Full => set(&mut row.schema, Schema::Simple),
            Schema::Simple => set(&mut row.schema, Schema::Strict),
            Schema::Strict => set(&mut row.tools, Tools::Textual),
        },
    },
    Remedy { all: &["tool"], any: UNKNOWN, change: |row| set(&mut row.tools, Tools::Textual) },
    Remedy { all: &["function"], any: UNKNOWN, change: |row| set(&mut row.tools, Tools::Textual) },
];

/// Changes `row` as a refusal's `words` suggest; false if they suggest nothing new.
pub fn adapt(row: &mut Dialect, words: &str) -> bool {
    let words = words.to_lowercase();
    let meant = |remedy: &&Remedy| {
        remedy.all.iter().all(|clue| words.contains(clue))
            && (remedy.any.is_empty() || remedy.any.iter().any(|clue| words.contains(clue)))
    };
    REMEDIES.iter().filter(meant).any(|remedy| (remedy.change)(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_name_of_its_own() {
        for row in DIALECTS {
            assert_eq!(named(row.name), Some(*row));
            for owner in row.owners {
                assert_eq!(owned_by(owner), Some(*row));
            }
        }
        assert_eq!(named("auto"), None);
    }

    #[test]
    fn refusals_in_the_wild_lead_to_the_right_change() {
        let changed = |words: &str| {
            let mut row = COMPATIBLE;
            adapt(&mut row, words).then_some(row)
        };
        let cases: [(&str, Dialect); 9] = [
            (
                "registry.ollama.ai/library/gemma3:4b does not support tools",
                Dialect { tools: Tools::Textual, ..COMPATIBLE },
            ),
            ("tools param requires --jinja flag", Dialect { tools: Tools::Textual, ..COMPATIBLE }),
            (
                "\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set",
                Dialect { tools: Tools::Textual, ..COMPATIBLE },
            ),
            (
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
                Dialect { limit: Limit::MaxCompletionTokens, ..COMPATIBLE },
            ),
            ("Extra inputs are not permitted: body.stream_options", Dialect { asks_usage: false, ..COMPATIBLE }),
            ("Conversation roles must alternate user/assistant", Dialect { alternates: true, ..COMPATIBLE }),
            ("System role not supported", Dialect { system: System::Merged, ..COMPATIBLE }),
            (
                "Invalid schema for function 'scale': 'additionalProperties' is required to be false",
                Dialect { schema: Schema::Strict, ..COMPATIBLE },
            ),
            (
                "Tool call id was call_1 but must be a-z, A-Z, 0-9, with a length of 9.",
                Dialect { short_ids: true, ..COMPATIBLE },
            ),
        ];
        for (words, row) in cases {
            assert_eq!(changed(words), Some(row), "{words}");
        }
        for innocent in ["model not found", "This model's maximum context length is 8192 tokens", ""] {
            assert_eq!(changed(innocent), None, "{innocent}");
        }
    }

    #[test]
    fn adapting_ends() {
        let mut row = DIALECTS[1];
        let words = "schema tool system role alternate temperature stream_options not supported";
        let mut changes = 0;
        while adapt(&mut row, words) {
            changes += 1;
            assert!(changes < 12, "{row:?}");
        }
        assert_eq!(row.tools, Tools::Textual);
    }
}
