//! Time, waiting and randomness.
//! Waiting must never go past the invocation's own deadline, and the host's uptime must never show.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wasmtime::Caller;

use super::super::guest::Guest;
use super::{Called, errno, number, put};

const REALTIME: u32 = 0;
const MONOTONIC: u32 = 1;
/// What the clocks are good for, in nanoseconds.
const RESOLUTION_NS: u64 = 1_000;
/// Most things waited for at once.
const MAX_SUBSCRIPTIONS: u32 = 64;
const SUBSCRIPTION_BYTES: u32 = 48;
const EVENT_BYTES: u32 = 32;
/// Kinds of subscription and event.
const TAG_CLOCK: u8 = 0;
const FLAG_ABSOLUTE: u64 = 1;

pub(super) fn resolution(mut caller: Caller<'_, Guest>, clock: u32, at: u32) -> Called {
    if clock > MONOTONIC {
        return Ok(errno::INVALID);
    }
    let (memory, _) = Guest::memory(&mut caller)?;
    put(memory, at, &RESOLUTION_NS.to_le_bytes())?;
    Ok(errno::SUCCESS)
}

pub(super) fn time(mut caller: Caller<'_, Guest>, clock: u32, _precision: u64, at: u32) -> Called {
    let (memory, guest) = Guest::memory(&mut caller)?;
    let Some(now) = now_ns(clock, guest) else {
        return Ok(errno::INVALID);
    };
    put(memory, at, &now.to_le_bytes())?;
    Ok(errno::SUCCESS)
}

/// The wall clock, or the time since the invocation began.
fn now_ns(clock: u32, guest: &Guest) -> Option<u64> {
    let now = match clock {
        REALTIME => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        MONOTONIC => guest.started.elapsed(),
        _ => return None,
    };
    u64::try_from(now.as_nanos()).ok()
}

pub(super) fn random(mut caller: Caller<'_, Guest>, at: u32, length: u32) -> Called {
    let (memory, guest) = Guest::memory(&mut caller)?;
    guest.go_on()?;
    let start = at as usize;
    let place =
        memory.get_mut(start..start.saturating_add(length as usize)).ok_or(super::super::guest::Stop::BadPointer)?;
    Ok(if getrandom::fill(place).is_ok() { errno::SUCCESS } else { errno::NOT_SUPPORTED })
}

/// Waits for the earliest clock; streams are always ready.
pub(super) fn poll(mut caller: Caller<'_, Guest>, asked: u32, events: u32, count: u32, stored_at: u32) -> Called {
    if count == 0 || count > MAX_SUBSCRIPTIONS {
        return Ok(errno::INVALID);
    }
    let (memory, guest) = Guest::memory(&mut caller)?;
    let mut waits = Vec::new();
    for index in 0..count {
        waits.push(Wait::read(memory, asked.saturating_add(index * SUBSCRIPTION_BYTES), guest)?);
    }
    let shortest = waits.iter().map(|wait| wait.duration).min().unwrap_or_default();
    let left = guest.deadline.saturating_duration_since(Instant::now());
    std::thread::sleep(shortest.min(left));
    guest.go_on()?;
    let mut stored = 0u32;
    for wait in waits.iter().filter(|wait| wait.duration <= shortest) {
        put(memory, events.saturating_add(stored * EVENT_BYTES), &wait.event())?;
        stored += 1;
    }
    put(memory, stored_at, &stored.to_le_bytes())?;
    Ok(errno::SUCCESS)
}

/// One thing waited for.
struct Wait {
    user: u64,
    tag: u8,
    error: u32,
    duration: Duration,
}

impl Wait {
    fn read(memory: &[u8], at: u32, guest: &Guest) -> Result<Self, super::super::guest::Stop> {
        let field = |offset: u32, bytes| number(memory, at.saturating_add(offset), bytes);
        let user = field(0, 8)?;
        let tag = field(8, 1)? as u8;
        if tag != TAG_CLOCK {
            let error = super::streams::known(field(16, 4)? as u32);
            return Ok(Self { user, tag, error, duration: Duration::ZERO });
        }
        let (clock, timeout, flags) = (field(16, 4)? as u32, field(24, 8)?, field(40, 2)?);
        let Some(now) = now_ns(clock, guest) else {
            return Ok(Self { user, tag, error: errno::INVALID, duration: Duration::ZERO });
        };
        let nanos = if flags & FLAG_ABSOLUTE == 0 { timeout } else { timeout.saturating_sub(now) };
        Ok(Self { user, tag, error: errno::SUCCESS, duration: Duration::from_nanos(nanos) })
    }

    fn event(&self) -> [u8; EVENT_BYTES as usize] {
        let mut event = [0; EVENT_BYTES as usize];
        let fields = self.user.to_le_bytes().into_iter().chain((self.error as u16).to_le_bytes()).chain([self.tag]);
        event.iter_mut().zip(fields).for_each(|(place, byte)| *place = byte);
        event
    }
}
