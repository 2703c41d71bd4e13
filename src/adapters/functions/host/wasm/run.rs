//! One run of a module: a fresh instance, a request, a response.
//! It must never return with the instance still running.

use wasmtime::{Instance, Store, Trap, UpdateDeadline, WasmBacktrace};

use super::super::logs::Logs;
use super::super::table::{Ran, cut};
use super::Module;
use super::guest::{Guest, Stop};
use crate::wire::Bounds;
use crate::{Kind, Status};

impl Module {
    pub(in super::super) fn run(&self, bounds: Bounds, input: Vec<u8>, logs: &mut Logs) -> Ran {
        let mut store = Store::new(self.pre.module().engine(), Guest::new(bounds, input));
        store.limiter(|guest| &mut guest.limiter);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|store| {
            store.data().go_on()?;
            Ok(UpdateDeadline::Continue(1))
        });
        let ended = self.call(&mut store);
        let guest = store.into_data();
        *logs = guest.logs;
        let (status, detail) = match ended {
            Ok(()) => (Status::Ok, None),
            Err(error) => judge(&error, guest.limiter.refused),
        };
        Ran { status, output: guest.output, detail, memory_peak_bytes: guest.limiter.peak_bytes }
    }

    fn call(&self, store: &mut Store<Guest>) -> wasmtime::Result<()> {
        let instance = self.pre.instantiate(&mut *store)?;
        store.data_mut().memory = instance.get_memory(&mut *store, "memory");
        match self.kind {
            Kind::WasiCommand => instance.get_typed_func::<(), ()>(&mut *store, "_start")?.call(store, ()),
            Kind::PlainModule | Kind::JavaScript => plain(&instance, store),
        }
    }
}

/// Puts the request into the memory that `alloc` gives, and takes the response from where `handle` says.
fn plain(instance: &Instance, store: &mut Store<Guest>) -> wasmtime::Result<()> {
    if let Ok(initialize) = instance.get_typed_func::<(), ()>(&mut *store, "_initialize") {
        initialize.call(&mut *store, ())?;
    }
    let alloc = instance.get_typed_func::<u32, u32>(&mut *store, "alloc")?;
    let handle = instance.get_typed_func::<(u32, u32), u64>(&mut *store, "handle")?;
    let input = std::mem::take(&mut store.data_mut().input);
    let length = u32::try_from(input.len())?;
    let pointer = alloc.call(&mut *store, length)?;
    let memory = store.data().memory.ok_or(Stop::BadPointer)?;
    let place = part(memory.data_mut(&mut *store), pointer, length)?;
    place.copy_from_slice(&input);
    let packed = handle.call(&mut *store, (pointer, length))?;
    let (memory, guest) = memory.data_and_store_mut(store);
    let response = part(memory, (packed >> 32) as u32, packed as u32)?;
    Ok(guest.answer(response)?)
}

fn part(memory: &mut [u8], pointer: u32, length: u32) -> Result<&mut [u8], Stop> {
    let start = pointer as usize;
    let end = start.checked_add(length as usize).ok_or(Stop::BadPointer)?;
    memory.get_mut(start..end).ok_or(Stop::BadPointer)
}

/// What an error says about the run.
fn judge(error: &wasmtime::Error, refused: bool) -> (Status, Option<String>) {
    match error.downcast_ref::<Stop>() {
        Some(Stop::Exit(0)) => return (Status::Ok, None),
        Some(stop @ Stop::TimedOut) => return (Status::TimedOut, Some(stop.to_string())),
        Some(stop) if !refused => return (Status::Failed, Some(stop.to_string())),
        _ => {}
    }
    let trap = error.downcast_ref::<Trap>();
    let what = match trap {
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    let place = error.downcast_ref::<WasmBacktrace>().and_then(|trace| trace.frames().first()?.func_name());
    let detail = Some(cut(&place.map_or_else(|| what.clone(), |place| format!("{what}, in {place}"))));
    match trap {
        _ if refused => (Status::OutOfMemory, detail),
        Some(_) => (Status::Trapped, detail),
        None => (Status::Failed, detail),
    }
}
