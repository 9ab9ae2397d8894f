//! Adapter for WAMR, its fast interpreter, through the crate `wamrx`.

use extism_kernel_adapters::{serve, Engine, Failure, Instance, Value};
use wamrx::{Error, InstanceConfig, Linker, Memory, Module, Val};

struct Wamr {
    instance: wamrx::Instance,
    /// A trap stays on the instance and fails every later call; `wamrx` has no call that clears it.
    trapped: bool,
}

fn main() {
    let engine = wamrx::Engine::new().expect("WAMR starts once per process");
    let linker = Linker::new(&engine);
    let mut config = InstanceConfig::new();
    config.heap_size(0); // or WAMR puts a heap of its own into the module's memory
    serve(&Engine {
        adapter: "wamr",
        runtime: "wamr",
        library: "wamrx",
        capabilities: &[],
        compile: &|binary| {
            // An instance takes its module with it, so each loads one of its own.
            let (engine, linker, config, binary) = (&engine, &linker, &config, binary.to_vec());
            let has_imports = imports(&binary).unwrap_or(0) > 0;
            let load = move || {
                let module = Module::new(engine, &binary);
                module.map_err(|error| Failure::Reject("compile", error.to_string()))
            };
            load()?;
            if has_imports {
                // WAMR would instantiate it and trap in the first call.
                return Err(Failure::Reject("link", "the module has imports".to_owned()));
            }
            Ok(Box::new(move || {
                let instance = linker.instantiate_with(load()?, config);
                let instance = instance.map_err(|error| Failure::Reject("start", error.to_string()))?;
                Ok(Box::new(Wamr { instance, trapped: false }))
            }))
        },
    });
}

/// Counts the entries of the import section; `None` if the sections cannot be followed.
fn imports(binary: &[u8]) -> Option<u64> {
    let mut rest = binary.get(8..)?;
    while let Some((&id, tail)) = rest.split_first() {
        let (size, tail) = leb(tail)?;
        if id == 2 {
            return Some(leb(tail)?.0);
        }
        rest = tail.get(size as usize..)?;
    }
    Some(0)
}

fn leb(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let last = bytes.iter().take(5).position(|byte| byte & 0x80 == 0)?;
    let value = bytes[..=last].iter().rev().fold(0, |sum, byte| sum << 7 | u64::from(byte & 0x7f));
    Some((value, &bytes[last + 1..]))
}

impl Wamr {
    fn memory(&self) -> Result<Memory<'_>, Failure> {
        self.instance.get_memory("memory").map_err(|error| Failure::Error(error.to_string()))
    }
}

impl Instance for Wamr {
    fn call(&mut self, name: &str, arguments: &[Value], _fuel: Option<u64>) -> Result<Vec<Value>, Failure> {
        if self.trapped {
            return Err(Failure::Trap("other", "an earlier trap stays on this instance".to_owned()));
        }
        let function = self.instance.get_func(name).map_err(|error| Failure::Error(error.to_string()))?;
        let kind = function.ty();
        let arguments = arguments.iter().copied().map(into_val).collect::<Result<Vec<_>, _>>()?;
        if !arguments.iter().map(|value| value.ty()).eq(kind.params().iter().copied()) {
            return Err(Failure::Error(format!("`{name}` takes {:?}", kind.params())));
        }
        let mut results: Vec<Val> = kind.results().iter().map(|result| result.default_value()).collect();
        let done = function.call(&arguments, &mut results);
        self.trapped = done.is_err();
        done.map_err(failure)?;
        Ok(results.into_iter().map(from_val).collect())
    }

    fn size(&self) -> Result<u64, Failure> {
        Ok(self.memory()?.size())
    }

    fn grow(&mut self, _pages: u32) -> Result<Option<u64>, Failure> {
        Err(Failure::Unsupported)
    }

    fn read(&self, address: usize, bytes: &mut [u8]) -> Result<(), Failure> {
        bytes.copy_from_slice(&self.memory()?.data()[address..][..bytes.len()]);
        Ok(())
    }

    fn write(&mut self, address: usize, bytes: &[u8]) -> Result<(), Failure> {
        self.memory()?.data_mut()[address..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn global(&mut self, name: &str) -> Result<Value, Failure> {
        match self.instance.get_global(name) {
            Ok(global) => Ok(from_val(global.get())),
            Err(Error::UnsupportedType) => Err(Failure::Unsupported),
            Err(error) => Err(Failure::Error(error.to_string())),
        }
    }
}

fn failure(error: Error) -> Failure {
    let Error::Trap(message) = &error else {
        return Failure::Error(error.to_string());
    };
    let kinds = [
        ("unreachable", "unreachable"),
        ("out of bounds memory access", "out-of-bounds"),
        ("integer", "integer"),
        ("stack overflow", "stack"),
        ("", "other"),
    ];
    let kind = kinds.iter().find(|(words, _)| message.contains(words)).map_or("other", |(_, kind)| kind);
    Failure::Trap(kind, message.clone())
}

fn into_val(value: Value) -> Result<Val, Failure> {
    Ok(match value {
        Value::I32(number) => Val::I32(number as i32),
        Value::I64(number) => Val::I64(number as i64),
        Value::F32(bits) => Val::F32(f32::from_bits(bits)),
        Value::F64(bits) => Val::F64(f64::from_bits(bits)),
        Value::NullExternRef => return Err(Failure::Unsupported),
    })
}

fn from_val(value: Val) -> Value {
    match value {
        Val::I32(number) => Value::I32(number as u32),
        Val::I64(number) => Value::I64(number as u64),
        Val::F32(number) => Value::F32(number.to_bits()),
        Val::F64(number) => Value::F64(number.to_bits()),
    }
}
