//! `console` for functions: every method writes a log line.
//! It must never write anywhere else.

use std::cell::RefCell;
use std::rc::Rc;

use rquickjs::function::Rest;
use rquickjs::{Coerced, Ctx, Function, Object, Value};

use super::super::logs::Logs;

const METHODS: [&str; 6] = ["log", "info", "warn", "error", "debug", "trace"];

pub(super) fn install<'js>(ctx: &Ctx<'js>, logs: &Rc<RefCell<Logs>>) -> rquickjs::Result<()> {
    let console = Object::new(ctx.clone())?;
    for method in METHODS {
        let logs = Rc::clone(logs);
        let write = move |ctx: Ctx<'js>, values: Rest<Value<'js>>| -> rquickjs::Result<()> {
            let words = values.0.into_iter().map(|value| word(&ctx, value)).collect::<rquickjs::Result<Vec<_>>>()?;
            logs.borrow_mut().line(&words.join(" "));
            Ok(())
        };
        console.set(method, Function::new(ctx.clone(), write)?)?;
    }
    ctx.globals().set("console", console)
}

/// Text as it is, errors in words, everything else as JSON.
fn word<'js>(ctx: &Ctx<'js>, value: Value<'js>) -> rquickjs::Result<String> {
    let plain = value.is_string() || value.is_error();
    if !plain && let Some(json) = ctx.json_stringify(value.clone())? {
        return json.to_string();
    }
    Ok(value.get::<Coerced<String>>()?.0)
}
