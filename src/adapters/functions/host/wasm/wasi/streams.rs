//! The three standard streams: request in, response out, log lines out.
//! They must never be anything else, and no other descriptor exists.

use wasmtime::Caller;

use super::super::guest::{Guest, Stop};
use super::{Called, errno, number, put};

const STDIN: u32 = 0;
const STDOUT: u32 = 1;
const STDERR: u32 = 2;
/// Most buffers of one read or write; libraries use up to 16.
const MAX_BUFFERS: u32 = 1024;
/// Size of a buffer's entry: pointer and length.
const BUFFER_ENTRY: u32 = 8;

pub(super) fn known(fd: u32) -> u32 {
    if fd <= STDERR { errno::SUCCESS } else { errno::BAD_DESCRIPTOR }
}

pub(super) fn no_seek(fd: u32) -> u32 {
    if fd <= STDERR { errno::NO_SEEK } else { errno::BAD_DESCRIPTOR }
}

/// Kind unknown (so not a terminal), no flags, and the right to read or to write.
pub(super) fn status(mut caller: Caller<'_, Guest>, fd: u32, at: u32) -> Called {
    const BYTES: usize = 24;
    const RIGHTS_AT: usize = 8;
    const RIGHT_READ: u64 = 1 << 1;
    const RIGHT_WRITE: u64 = 1 << 6;
    if fd > STDERR {
        return Ok(errno::BAD_DESCRIPTOR);
    }
    let rights = if fd == STDIN { RIGHT_READ } else { RIGHT_WRITE };
    let mut status = [0; BYTES];
    if let Some(place) = status.get_mut(RIGHTS_AT..RIGHTS_AT + 8) {
        place.copy_from_slice(&rights.to_le_bytes());
    }
    let (memory, _) = Guest::memory(&mut caller)?;
    put(memory, at, &status)?;
    Ok(errno::SUCCESS)
}

/// A file of unknown kind, size and time.
pub(super) fn file_status(mut caller: Caller<'_, Guest>, fd: u32, at: u32) -> Called {
    const BYTES: usize = 64;
    if fd > STDERR {
        return Ok(errno::BAD_DESCRIPTOR);
    }
    let (memory, _) = Guest::memory(&mut caller)?;
    put(memory, at, &[0; BYTES])?;
    Ok(errno::SUCCESS)
}

/// Fills the buffers from what is left of the request.
pub(super) fn read(mut caller: Caller<'_, Guest>, fd: u32, buffers: u32, count: u32, read_at: u32) -> Called {
    if fd != STDIN {
        return Ok(errno::BAD_DESCRIPTOR);
    }
    if count > MAX_BUFFERS {
        return Ok(errno::INVALID);
    }
    let (memory, guest) = Guest::memory(&mut caller)?;
    guest.go_on()?;
    let mut total = 0u32;
    for index in 0..count {
        let (pointer, length) = buffer(memory, buffers, index)?;
        let left = guest.input.get(guest.input_read..).unwrap_or_default();
        let taken = left.get(..length as usize).unwrap_or(left);
        put(memory, pointer, taken)?;
        guest.input_read += taken.len();
        // No more than the request's size, which is far below this bound.
        total = total.saturating_add(u32::try_from(taken.len()).unwrap_or(u32::MAX));
    }
    put(memory, read_at, &total.to_le_bytes())?;
    Ok(errno::SUCCESS)
}

/// Appends the buffers to the response or to the log lines.
pub(super) fn write(mut caller: Caller<'_, Guest>, fd: u32, buffers: u32, count: u32, written_at: u32) -> Called {
    if fd != STDOUT && fd != STDERR {
        return Ok(errno::BAD_DESCRIPTOR);
    }
    if count > MAX_BUFFERS {
        return Ok(errno::INVALID);
    }
    let (memory, guest) = Guest::memory(&mut caller)?;
    guest.go_on()?;
    let mut total = 0u32;
    for index in 0..count {
        let (pointer, length) = buffer(memory, buffers, index)?;
        let start = pointer as usize;
        let data = memory.get(start..start.saturating_add(length as usize)).ok_or(Stop::BadPointer)?;
        if fd == STDOUT {
            guest.answer(data)?;
        } else {
            guest.logs.write(data);
        }
        total = total.saturating_add(length);
    }
    put(memory, written_at, &total.to_le_bytes())?;
    Ok(errno::SUCCESS)
}

fn buffer(memory: &[u8], buffers: u32, index: u32) -> Result<(u32, u32), Stop> {
    let at = index.checked_mul(BUFFER_ENTRY).and_then(|offset| buffers.checked_add(offset)).ok_or(Stop::BadPointer)?;
    let entry = number(memory, at, 8)?;
    Ok((entry as u32, (entry >> 32) as u32))
}
