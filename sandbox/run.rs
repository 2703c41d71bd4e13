//! One run: check the source, parse, evaluate, send the value or why there is none.

use std::rc::Rc;

use opsward_wire::{ExitReason, FailKind, FromWorker, ToWorker, check_names};
use rhai::{AST, Dynamic, Engine, EvalAltResult, ParseErrorType, Position, Scope};
use serde_json::Value;

use crate::exit::leave;
use crate::host::{Channel, Host, register_query, register_step};
use crate::value::{Step, result_to_json, to_dynamic};
use crate::{engine, source};

/// Longest message of a failure, in characters.
const MAX_MESSAGE_CHARS: usize = 400;

/// A run that ended without a value.
struct Failure {
    kind: FailKind,
    message: String,
    line: Option<u32>,
}

/// Waits for the run, does it and sends its last frame.
pub(crate) fn serve(engine: Engine, mut channel: Channel) {
    let ToWorker::Run { source, input, queries, steps, limits } = channel.receive() else {
        leave(ExitReason::Protocol)
    };
    if check_names(&queries, &steps).is_err() {
        leave(ExitReason::Protocol);
    }
    let host = Host::new(channel, limits);
    let last = match run(engine, &host, &source, input, &queries, &steps) {
        Ok(value) => FromWorker::Done { value },
        Err(failure) => failure.into_frame(),
    };
    if let Err(error) = host.send(&last) {
        let failure = Failure { kind: FailKind::BadValue, message: format!("the result: {error}"), line: None };
        // A failure is always small enough to be sent.
        let _sent = host.send(&failure.into_frame());
    }
}

fn run(
    mut engine: Engine,
    host: &Rc<Host>,
    source: &str,
    input: Value,
    queries: &[String],
    steps: &[String],
) -> Result<Value, Failure> {
    source::check(source).map_err(|fault| Failure {
        kind: FailKind::RefusedSource,
        message: fault.message.to_owned(),
        line: Some(fault.line),
    })?;
    if !input.is_object() {
        return Err(Failure { kind: FailKind::BadValue, message: "the input is not an object".to_owned(), line: None });
    }
    queries.iter().for_each(|name| register_query(&mut engine, host, name));
    steps.iter().for_each(|name| register_step(&mut engine, host, name));
    engine::watch(&mut engine, host);

    let mut scope = Scope::new();
    scope.push_constant_dynamic("input", to_dynamic(input));
    let ast = engine.compile_with_scope(&scope, source).map_err(|error| parse_failure(&error.0, error.1))?;
    refuse_redefinitions(&ast, queries, steps)?;
    let value = engine.eval_ast_with_scope::<Dynamic>(&mut scope, &ast).map_err(|error| run_failure(&error, host))?;
    // A call that ended the run inside a native callback may have had its error swallowed there.
    if let Some((kind, message)) = host.end_reason() {
        return Err(Failure { kind, message, line: None });
    }
    result(&value)
}

fn result(value: &Dynamic) -> Result<Value, Failure> {
    if !(value.is_map() || value.is_array() || value.is_string() || value.is::<Step>()) {
        let message = format!("the script returned {}; a map, an array, a string or a step was due", value.type_name());
        return Err(Failure { kind: FailKind::BadValue, message, line: None });
    }
    result_to_json(value).map_err(|fault| Failure {
        kind: FailKind::BadValue,
        message: format!("the result: {fault}"),
        line: None,
    })
}

fn refuse_redefinitions(ast: &AST, queries: &[String], steps: &[String]) -> Result<(), Failure> {
    match ast.iter_functions().find(|function| queries.iter().chain(steps).any(|name| name == function.name)) {
        None => Ok(()),
        Some(function) => {
            let message = format!("the script redefines `{}`", function.name);
            Err(Failure { kind: FailKind::RefusedSource, message, line: None })
        }
    }
}

fn parse_failure(error: &ParseErrorType, position: Position) -> Failure {
    let kind = match error {
        ParseErrorType::ExprTooDeep | ParseErrorType::TooManyFunctions | ParseErrorType::LiteralTooLarge(..) => {
            FailKind::Limit
        }
        _ => FailKind::Syntax,
    };
    Failure { kind, message: error.to_string(), line: line(position) }
}

fn run_failure(error: &EvalAltResult, host: &Host) -> Failure {
    let cause = innermost(error);
    let line = line(cause.position()).or_else(|| line(error.position()));
    if let Some((kind, message)) = host.end_reason() {
        return Failure { kind, message, line };
    }
    let kind = match cause {
        EvalAltResult::ErrorTooManyOperations(..)
        | EvalAltResult::ErrorTooManyVariables(..)
        | EvalAltResult::ErrorStackOverflow(..)
        | EvalAltResult::ErrorDataTooLarge(..)
        | EvalAltResult::ErrorTerminated(..) => FailKind::Limit,
        EvalAltResult::ErrorParsing(..) => FailKind::Syntax,
        _ => FailKind::Runtime,
    };
    let message = match host.last_denial() {
        Some(denial) if kind == FailKind::Runtime => format!("{cause}; before that, {denial}"),
        _ => cause.to_string(),
    };
    Failure { kind, message, line }
}

fn innermost(error: &EvalAltResult) -> &EvalAltResult {
    match error {
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _) => innermost(inner),
        other => other,
    }
}

fn line(position: Position) -> Option<u32> {
    position.line().and_then(|line| u32::try_from(line).ok())
}

impl Failure {
    fn into_frame(self) -> FromWorker {
        let message =
            self.message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_MESSAGE_CHARS).collect();
        FromWorker::Fail { kind: self.kind, message, line: self.line }
    }
}
