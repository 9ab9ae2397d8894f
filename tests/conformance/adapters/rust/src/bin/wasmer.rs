//! Adapter for wasmer, by one of its compilers: cranelift, or with `--singlepass` that one.

use extism_kernel_adapters::{serve, Engine, Failure, Instance, Value};
use wasmer::sys::{CompilerConfig, Cranelift, EngineBuilder, Singlepass};
use wasmer::{imports, InstantiationError, LinkError, Memory, Module, Pages, RuntimeError, Store};

struct Wasmer {
    store: Store,
    instance: wasmer::Instance,
}

fn main() {
    let singlepass = std::env::args().any(|argument| argument == "--singlepass");
    serve(&Engine {
        adapter: if singlepass { "wasmer-singlepass" } else { "wasmer-cranelift" },
        runtime: "wasmer",
        library: "wasmer",
        capabilities: &["externref", "grow", "resume-after-trap"],
        compile: &|binary| {
            let compiler: Box<dyn CompilerConfig> =
                if singlepass { Box::new(Singlepass::default()) } else { Box::new(Cranelift::default()) };
            let engine = wasmer::Engine::from(EngineBuilder::new(compiler));
            let module = Module::new(&engine, binary);
            let module = module.map_err(|error| Failure::Reject("compile", error.to_string()))?;
            Ok(Box::new(move || instantiate(&engine, &module)))
        },
    });
}

fn instantiate(engine: &wasmer::Engine, module: &Module) -> Result<Box<dyn Instance>, Failure> {
    let mut store = Store::new(engine.clone());
    let instance = wasmer::Instance::new(&mut store, module, &imports! {});
    let instance = instance.map_err(|error| match error {
        InstantiationError::Start(_) | InstantiationError::Link(LinkError::Trap(_)) => {
            Failure::Reject("start", error.to_string())
        }
        _ => Failure::Reject("link", error.to_string()),
    })?;
    Ok(Box::new(Wasmer { store, instance }))
}

impl Wasmer {
    fn memory(&self) -> Result<&Memory, Failure> {
        self.instance.exports.get_memory("memory").map_err(|error| Failure::Error(error.to_string()))
    }
}

impl Instance for Wasmer {
    fn call(&mut self, name: &str, arguments: &[Value], _fuel: Option<u64>) -> Result<Vec<Value>, Failure> {
        let function = self.instance.exports.get_function(name);
        let function = function.map_err(|error| error.to_string())?;
        let arguments: Vec<wasmer::Value> = arguments.iter().copied().map(into_value).collect();
        let kinds = arguments.iter().map(wasmer::Value::ty);
        if !kinds.eq(function.ty(&self.store).params().iter().copied()) {
            return Err(Failure::Error(format!("`{name}` is {}", function.ty(&self.store))));
        }
        let results = function.call(&mut self.store, &arguments).map_err(failure)?;
        results.iter().map(from_value).collect()
    }

    fn size(&self) -> Result<u64, Failure> {
        Ok(u64::from(self.memory()?.size(&self.store).0))
    }

    fn grow(&mut self, pages: u32) -> Result<Option<u64>, Failure> {
        let memory = self.memory()?.clone();
        Ok(memory.grow(&mut self.store, Pages(pages)).ok().map(|old| u64::from(old.0)))
    }

    fn read(&self, address: usize, bytes: &mut [u8]) -> Result<(), Failure> {
        let done = self.memory()?.view(&self.store).read(address as u64, bytes);
        done.map_err(|error| Failure::Error(error.to_string()))
    }

    fn write(&mut self, address: usize, bytes: &[u8]) -> Result<(), Failure> {
        let done = self.memory()?.view(&self.store).write(address as u64, bytes);
        done.map_err(|error| Failure::Error(error.to_string()))
    }

    fn global(&mut self, name: &str) -> Result<Value, Failure> {
        let global = self.instance.exports.get_global(name).map_err(|error| error.to_string())?.clone();
        from_value(&global.get(&mut self.store))
    }
}

fn failure(error: RuntimeError) -> Failure {
    let message = error.message();
    let kinds = [
        ("unreachable", "unreachable"),
        ("out of bounds memory access", "out-of-bounds"),
        ("integer", "integer"),
        ("call stack exhausted", "stack"),
    ];
    let kind = kinds.iter().find(|(words, _)| message.contains(words)).map_or("other", |(_, kind)| kind);
    Failure::Trap(kind, message)
}

fn into_value(value: Value) -> wasmer::Value {
    match value {
        Value::I32(number) => wasmer::Value::I32(number as i32),
        Value::I64(number) => wasmer::Value::I64(number as i64),
        Value::F32(bits) => wasmer::Value::F32(f32::from_bits(bits)),
        Value::F64(bits) => wasmer::Value::F64(f64::from_bits(bits)),
        Value::NullExternRef => wasmer::Value::ExternRef(None),
    }
}

fn from_value(value: &wasmer::Value) -> Result<Value, Failure> {
    Ok(match value {
        wasmer::Value::I32(number) => Value::I32(*number as u32),
        wasmer::Value::I64(number) => Value::I64(*number as u64),
        wasmer::Value::F32(number) => Value::F32(number.to_bits()),
        wasmer::Value::F64(number) => Value::F64(number.to_bits()),
        wasmer::Value::ExternRef(None) => Value::NullExternRef,
        _ => return Err(Failure::Error(format!("{value:?} has no form in the protocol"))),
    })
}
