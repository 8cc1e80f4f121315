//! The part of WASI preview 1 that modules need to start: clocks, random numbers, standard output.
//!
//! There are no files, no arguments and no environment. Every other function that a module imports says that it is
//! not supported.

use wasmi::errors::LinkerError;
use wasmi::{Caller, Error, ExternType, Linker, Module, Val};

use crate::abi::{bytes, memory, place};
use crate::host::Host;

const MODULE: &str = "wasi_snapshot_preview1";
/// Numbers of errors as WASI has them.
const SUCCESS: i32 = 0;
const BAD_DESCRIPTOR: i32 = 8;
const INVALID: i32 = 28;
const IO: i32 = 29;
const NOT_SUPPORTED: i32 = 52;
/// A device for characters: what standard input and output are.
const CHARACTERS: u8 = 2;

/// Defines what there is, then what a module imports beyond that.
pub(crate) fn define(linker: &mut Linker<Host>, module: &Module) -> Result<(), LinkerError> {
    descriptors(linker)?;
    surroundings(linker)?;
    for import in module.imports().filter(|import| import.module() == MODULE) {
        let ExternType::Func(kind) = import.ty() else {
            continue;
        };
        let unsupported = |_: Caller<'_, Host>, _: &[Val], results: &mut [Val]| {
            if let Some(result) = results.first_mut() {
                *result = Val::I32(NOT_SUPPORTED);
            }
            Ok(())
        };
        // What is there already stays.
        linker
            .func_new(MODULE, import.name(), kind.clone(), unsupported)
            .ok();
    }
    Ok(())
}

fn descriptors(linker: &mut Linker<Host>) -> Result<(), LinkerError> {
    linker.func_wrap(MODULE, "fd_write", write)?;
    linker.func_wrap(
        MODULE,
        "fd_read",
        |mut caller: Caller<'_, Host>, descriptor: i32, _: i32, _: i32, read: i32| {
            if descriptor != 0 {
                return Ok(BAD_DESCRIPTOR);
            }
            store(&mut caller, read, &0_u32.to_le_bytes())
        },
    )?;
    linker.func_wrap(MODULE, "fd_close", |_: i32| SUCCESS)?;
    linker.func_wrap(MODULE, "fd_seek", |_: i32, _: i64, _: i32, _: i32| BAD_DESCRIPTOR)?;
    linker.func_wrap(
        MODULE,
        "fd_fdstat_get",
        |mut caller: Caller<'_, Host>, descriptor: i32, address: i32| {
            if !(0..=2).contains(&descriptor) {
                return Ok(BAD_DESCRIPTOR);
            }
            let mut status = [0; 24];
            status[0] = CHARACTERS;
            store(&mut caller, address, &status)
        },
    )?;
    linker.func_wrap(MODULE, "fd_prestat_get", |_: i32, _: i32| BAD_DESCRIPTOR)?;
    linker.func_wrap(MODULE, "fd_prestat_dir_name", |_: i32, _: i32, _: i32| {
        BAD_DESCRIPTOR
    })?;
    Ok(())
}

fn surroundings(linker: &mut Linker<Host>) -> Result<(), LinkerError> {
    for name in ["args_sizes_get", "environ_sizes_get"] {
        linker.func_wrap(
            MODULE,
            name,
            |mut caller: Caller<'_, Host>, count: i32, size: i32| {
                store(&mut caller, count, &0_u32.to_le_bytes())?;
                store(&mut caller, size, &0_u32.to_le_bytes())
            },
        )?;
    }
    for name in ["args_get", "environ_get"] {
        linker.func_wrap(MODULE, name, |_: i32, _: i32| SUCCESS)?;
    }
    linker.func_wrap(
        MODULE,
        "clock_time_get",
        |mut caller: Caller<'_, Host>, clock: i32, _precision: i64, address: i32| {
            let time = match clock {
                0 => caller.data_mut().wall_time(),
                1 => caller.data_mut().elapsed(),
                _ => return Ok(INVALID),
            };
            let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
            store(&mut caller, address, &nanos.to_le_bytes())
        },
    )?;
    linker.func_wrap(
        MODULE,
        "clock_res_get",
        |mut caller: Caller<'_, Host>, _clock: i32, address: i32| {
            store(&mut caller, address, &1000_u64.to_le_bytes())
        },
    )?;
    linker.func_wrap(
        MODULE,
        "random_get",
        |mut caller: Caller<'_, Host>, address: i32, length: i32| -> Result<i32, Error> {
            let memory = memory(&caller)?;
            let (start, length) = (place(address), place(length));
            let (all, host) = memory.data_and_store_mut(&mut caller);
            let end = start.checked_add(length);
            let bytes = end.and_then(|end| all.get_mut(start..end));
            let bytes = bytes.ok_or_else(|| Error::new("out of memory range"))?;
            Ok(if host.random(bytes) { SUCCESS } else { IO })
        },
    )?;
    linker.func_wrap(MODULE, "sched_yield", || SUCCESS)?;
    linker.func_wrap(MODULE, "proc_exit", |code: i32| -> Result<(), Error> {
        Err(Error::i32_exit(code))
    })?;
    Ok(())
}

/// `fd_write`: a list of pieces to standard output or standard error.
fn write(
    mut caller: Caller<'_, Host>,
    descriptor: i32,
    pieces: i32,
    count: i32,
    written: i32,
) -> Result<i32, Error> {
    if !(1..=2).contains(&descriptor) {
        return Ok(BAD_DESCRIPTOR);
    }
    let mut total = 0_u32;
    let length = count
        .checked_mul(8)
        .ok_or_else(|| Error::new("too many pieces"))?;
    for piece in bytes(&caller, pieces, length)?.as_chunks::<8>().0 {
        let [a, b, c, d, e, f, g, h] = *piece;
        let (address, length) = (i32::from_le_bytes([a, b, c, d]), i32::from_le_bytes([e, f, g, h]));
        let text = bytes(&caller, address, length)?;
        caller.data_mut().print(descriptor, &text);
        total = total.saturating_add(length.cast_unsigned());
    }
    store(&mut caller, written, &total.to_le_bytes())
}

fn store(caller: &mut Caller<'_, Host>, address: i32, bytes: &[u8]) -> Result<i32, Error> {
    let memory = memory(caller)?;
    memory.write(&mut *caller, place(address), bytes)?;
    Ok(SUCCESS)
}
