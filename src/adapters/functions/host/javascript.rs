//! JavaScript functions: parsing, finding the function, running it.
//! It must never keep an engine, a global or a value for a second run.

mod console;
mod fault;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rquickjs::promise::PromiseState;
use rquickjs::{Context, Ctx, Function, Module, Promise, Runtime, Value};

use super::logs::Logs;
use super::table::{Ran, cut};
use crate::wire::Bounds;
use crate::{SourceError, Status};
use fault::Fault;

/// The name that stack traces show.
const FILE: &str = "function.js";
/// Stack of the engine, in bytes; the thread has a multiple of it.
const STACK_BYTES: usize = 1024 * 1024;
/// What top-level code may use while it is loaded.
const LOAD_TIMEOUT_MS: u64 = 2_000;
const LOAD_MEMORY_BYTES: u64 = 64 * 1024 * 1024;

/// Where the function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    /// In a module: `export default`, else `export function handle`.
    Module,
    /// In a plain script: `function handle`.
    Script,
}

/// A script that parses and has a function to call.
pub(super) struct Script {
    text: Arc<str>,
    entry: Entry,
}

/// An engine for one run.
struct Engine {
    runtime: Runtime,
    context: Context,
    late: Rc<Cell<bool>>,
    deadline: Instant,
}

impl Engine {
    fn new(timeout_ms: u64, memory_max_bytes: u64) -> rquickjs::Result<Self> {
        let deadline = Instant::now() + Duration::from_millis(timeout_ms);
        let late = Rc::new(Cell::new(false));
        let runtime = Runtime::new()?;
        runtime.set_memory_limit(usize::try_from(memory_max_bytes).unwrap_or(usize::MAX));
        runtime.set_max_stack_size(STACK_BYTES);
        let seen = Rc::clone(&late);
        runtime.set_interrupt_handler(Some(Box::new(move || {
            seen.set(seen.get() || Instant::now() >= deadline);
            seen.get()
        })));
        let context = Context::full(&runtime)?;
        Ok(Self { runtime, context, late, deadline })
    }

    fn late(&self) -> bool {
        self.late.get() || Instant::now() >= self.deadline
    }

    /// Lets promises settle until this one has.
    fn settle<'js>(&self, ctx: &Ctx<'js>, value: Value<'js>) -> Result<Value<'js>, Fault> {
        let Some(promise) = Promise::from_value(value.clone()).ok() else {
            return Ok(value);
        };
        while promise.state() == PromiseState::Pending {
            if self.late() {
                return Err(Fault::TimedOut);
            }
            if !ctx.execute_pending_job() {
                return Err(Fault::Script("its promise never settles".to_owned()));
            }
        }
        match promise.result::<Value<'js>>() {
            Some(result) => self.check(ctx, result),
            None => Err(Fault::Script("its promise never settles".to_owned())),
        }
    }

    /// Puts an engine error into words, with the exception behind it.
    fn check<'js, T>(&self, ctx: &Ctx<'js>, result: rquickjs::Result<T>) -> Result<T, Fault> {
        result.map_err(|error| if self.late() { Fault::TimedOut } else { Fault::of(ctx, &error) })
    }

    /// Runs top-level code and finds the function.
    fn find<'js>(&self, ctx: &Ctx<'js>, text: &str, entry: Entry) -> Result<Option<Function<'js>>, Fault> {
        let exports = match entry {
            Entry::Module => {
                let declared = self.check(ctx, Module::declare(ctx.clone(), FILE, text))?;
                let (module, started) = self.check(ctx, declared.eval())?;
                self.settle(ctx, started.into_value())?;
                self.check(ctx, module.namespace())?
            }
            Entry::Script => {
                let mut options = rquickjs::context::EvalOptions::default();
                options.strict = false;
                options.filename = Some(FILE.to_owned());
                let run = ctx.eval_with_options::<Value<'js>, _>(text, options);
                self.check(ctx, run)?;
                ctx.globals()
            }
        };
        let names: &[&str] = if entry == Entry::Module { &["default", "handle"] } else { &["handle"] };
        for name in names {
            let value: Value<'js> = self.check(ctx, exports.get(*name))?;
            if value.is_function() {
                return Ok(value.into_function());
            }
        }
        Ok(None)
    }
}

impl Script {
    /// Parses the source, runs its top level once (it has 2 s and 64 MiB), and finds its function.
    pub(super) fn check(source: Vec<u8>) -> Result<Self, SourceError> {
        let text = String::from_utf8(source)
            .map_err(|_| SourceError::Syntax { line: 0, message: "it is not UTF-8 text".to_owned() })?;
        let as_module = Self::try_as(&text, Entry::Module);
        let found = match &as_module {
            Ok(true) => Some(Entry::Module),
            Err(Fault::TimedOut) => None,
            // What is no module, or was made for looser rules than a module has, may be a plain script.
            Ok(false) | Err(_) => Self::try_as(&text, Entry::Script).is_ok_and(|found| found).then_some(Entry::Script),
        };
        match found {
            Some(entry) => Ok(Self { text: text.into(), entry }),
            None => Err(as_module.map_or_else(Fault::into_source_error, |_| SourceError::NoHandler)),
        }
    }

    /// Whether there is a function to call when the text is taken this way.
    fn try_as(text: &str, entry: Entry) -> Result<bool, Fault> {
        let engine = Engine::new(LOAD_TIMEOUT_MS, LOAD_MEMORY_BYTES).map_err(|_| Fault::OutOfMemory)?;
        let lines = Rc::new(RefCell::new(Logs::default()));
        engine.context.with(|ctx| {
            engine.check(&ctx, console::install(&ctx, &lines))?;
            Ok(engine.find(&ctx, text, entry)?.is_some())
        })
    }

    pub(super) fn run(&self, bounds: Bounds, input: &[u8], logs: &mut Logs) -> Ran {
        let lines = Rc::new(RefCell::new(Logs::default()));
        let Ok(engine) = Engine::new(bounds.timeout_ms, bounds.memory_max_bytes) else {
            let detail = Some("the engine did not fit into the memory allowed".to_owned());
            return Ran { status: Status::OutOfMemory, output: Vec::new(), detail, memory_peak_bytes: 0 };
        };
        let answer = engine.context.with(|ctx| self.answer(&engine, &ctx, bounds, input, &lines));
        let memory_peak_bytes = u64::try_from(engine.runtime.memory_usage().malloc_size).unwrap_or(0);
        *logs = lines.take();
        let (status, output, detail) = match answer {
            Ok(output) => (Status::Ok, output, None),
            Err(fault) => (fault.status(), Vec::new(), Some(cut(&fault.to_string()))),
        };
        Ran { status, output, detail, memory_peak_bytes }
    }

    fn answer<'js>(
        &self,
        engine: &Engine,
        ctx: &Ctx<'js>,
        bounds: Bounds,
        input: &[u8],
        lines: &Rc<RefCell<Logs>>,
    ) -> Result<Vec<u8>, Fault> {
        engine.check(ctx, console::install(ctx, lines))?;
        let function = engine.find(ctx, &self.text, self.entry)?;
        let function = function.ok_or_else(|| Fault::Script("it has no function this time".to_owned()))?;
        let request = engine.check(ctx, request(ctx, input))?;
        let returned = engine.check(ctx, function.call::<_, Value<'js>>((request,)))?;
        let value = engine.settle(ctx, returned)?;
        let json = engine.check(ctx, ctx.json_stringify(value))?;
        let json = match json {
            Some(json) => engine.check(ctx, json.to_string())?,
            None => "null".to_owned(),
        };
        if json.len() > bounds.output_max_bytes {
            return Err(Fault::Script(format!("the response is larger than {} bytes", bounds.output_max_bytes)));
        }
        Ok(json.into_bytes())
    }
}

/// The request as a value: parsed when it is JSON, else its text; nothing when it is empty.
fn request<'js>(ctx: &Ctx<'js>, input: &[u8]) -> rquickjs::Result<Value<'js>> {
    if input.is_empty() {
        return Ok(Value::new_undefined(ctx.clone()));
    }
    // Looked at with a parser of known depth first: the engine's own would report bad text as an exception.
    if serde_json::from_slice::<serde::de::IgnoredAny>(input).is_ok() {
        return ctx.json_parse(input);
    }
    let text = String::from_utf8_lossy(input);
    rquickjs::String::from_str(ctx.clone(), &text).map(rquickjs::String::into_value)
}
