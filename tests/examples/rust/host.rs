//! A host for the kernel in one file, on wasmi: what a port to another runtime has to do.
//!
//! ```text
//! cargo run --release -- KERNEL PLUGIN FUNCTION < INPUTS
//! ```
//!
//! Each line of standard input is the input of one call; an empty line is an empty input. Answers go to
//! standard output, one a line, errors to standard error. The exit code is 0 if every call answered,
//! 1 if one failed, 2 for a wrong command line or a module that cannot be loaded.

use std::env;
use std::error::Error;
use std::fs;
use std::io::{stdin, stdout, BufRead, Write};
use std::process::ExitCode;

use wasmi::{Engine, Func, Instance, Linker, Memory, Module, Store, Val};

/// One kernel and one plug-in, linked.
struct Host {
    store: Store<()>,
    kernel: Instance,
    memory: Memory,
    entry: Func,
}

impl Host {
    fn new(kernel: &[u8], plugin: &[u8], function: &str) -> Result<Self, Box<dyn Error>> {
        let engine = Engine::default();
        let mut store = Store::new(&engine, ());
        let mut linker = Linker::new(&engine);
        let kernel = linker.instantiate_and_start(&mut store, &Module::new(&engine, kernel)?)?;
        let memory = kernel.get_memory(&store, "memory").ok_or("the kernel exports no memory `memory`")?;
        // Guests get the kernel's functions, not its memory: what they store goes through its checks.
        let exports: Vec<_> = kernel.exports(&store).map(|export| export.name().to_owned()).collect();
        for name in exports {
            if let Some(function) = kernel.get_func(&store, &name) {
                linker.define("extism:host/env", &name, function)?;
            }
        }
        let guest = linker.instantiate_and_start(&mut store, &Module::new(&engine, plugin)?)?;
        let entry = guest.get_func(&store, function).filter(|entry| entry.ty(&store).params().is_empty());
        let entry = entry.ok_or_else(|| format!("no export `{function}` of type () -> i32"))?;
        Ok(Host { store, kernel, memory, entry })
    }

    /// Calls an export of the kernel and returns its result, or 0 if it has none.
    fn ask(&mut self, name: &str, numbers: &[u64]) -> Result<u64, String> {
        let function = self.kernel.get_func(&self.store, name);
        let function = function.ok_or_else(|| format!("the kernel exports no function `{name}`"))?;
        let numbers: Vec<Val> = numbers.iter().map(|&number| Val::I64(number as i64)).collect();
        let mut results = vec![Val::I64(0); function.ty(&self.store).results().len()];
        let called = function.call(&mut self.store, &numbers, &mut results);
        called.map_err(|error| format!("the kernel trapped in `{name}`: {error}"))?;
        Ok(match results.first() {
            Some(Val::I64(number)) => *number as u64,
            Some(Val::I32(number)) => u64::from(*number as u32),
            _ => 0,
        })
    }

    /// Returns the bytes of a range of the kernel's memory, or an error: whoever wrote the kernel may be wrong.
    fn view(&mut self, address: u64, length: u64) -> Result<&mut [u8], String> {
        let data = self.memory.data_mut(&mut self.store);
        let size = data.len() as u64;
        if address > size || length > size - address {
            let message = format!("the kernel describes {length} bytes at {address}, its memory has {size}");
            return Err(message);
        }
        Ok(&mut data[address as usize..][..length as usize])
    }

    /// Copies bytes into a new block and returns its handle.
    fn put(&mut self, data: &[u8]) -> Result<u64, String> {
        let handle = self.ask("alloc", &[data.len() as u64])?;
        if handle == 0 {
            return Err("out of memory".to_owned()); // address 0 is not ours: nothing may be written there
        }
        self.view(handle, data.len() as u64)?.copy_from_slice(data);
        Ok(handle)
    }

    /// Calls the plug-in's function. After an error the next call works all the same.
    fn call(&mut self, data: &[u8]) -> Result<Vec<u8>, String> {
        // 1. Open the call. `error_set` comes first, also on an instance that was never reset.
        self.ask("error_set", &[0])?;
        self.ask("reset", &[])?; // ends all blocks of the call before
        let handle = if data.is_empty() { 0 } else { self.put(data)? };
        self.ask("input_set", &[handle, data.len() as u64])?; // (0, 0) clears the input

        // 2. The guest's function. A trap is kept, for the guest may have set its error before.
        let mut results = vec![Val::I32(0); self.entry.ty(&self.store).results().len()];
        let returned = self.entry.call(&mut self.store, &[], &mut results);

        // 3. Close the call: read the registers in every case. An error that the guest set counts first,
        //    also with result 0; then a trap; then a result other than 0.
        let (output, length) = (self.ask("output_offset", &[])?, self.ask("output_length", &[])?);
        let error = self.ask("error_get", &[])?;
        let error_length = self.ask("length", &[error])?; // of handle 0 it is 0
        if error != 0 && error_length != 0 {
            return Err(String::from_utf8_lossy(self.view(error, error_length)?).into_owned());
        }
        returned.map_err(|trap| format!("the plug-in trapped: {trap}"))?;
        match results.first() {
            Some(Val::I32(status)) if *status != 0 => Err(format!("the plug-in returned {status}")),
            _ => Ok(self.view(output, length)?.to_vec()), // a copy: the next call writes over it
        }
    }
}

fn run(arguments: &[String]) -> Result<bool, Box<dyn Error>> {
    let [kernel, plugin, function] = arguments else {
        return Err("usage: cargo run --release -- KERNEL PLUGIN FUNCTION < INPUTS".into());
    };
    let mut host = Host::new(&fs::read(kernel)?, &fs::read(plugin)?, function)?;
    let mut all_answered = true;
    let mut output = stdout().lock();
    for line in stdin().lock().split(b'\n') {
        match host.call(&line?) {
            Ok(mut answer) => {
                answer.push(b'\n');
                output.write_all(&answer)?;
            }
            Err(message) => {
                eprintln!("error: {message}");
                all_answered = false;
            }
        }
    }
    Ok(all_answered)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
