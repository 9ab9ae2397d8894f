//! Adapter for wasmi, an interpreter with fuel.

use extism_kernel_adapters::{serve, Engine, Failure, Instance, Value};
use wasmi::errors::ErrorKind;
use wasmi::{
    CompilationMode, Config, CustomFuelCosts, Error, Linker, Memory, Module, Nullable, Store, TrapCode, Val,
};

struct Wasmi {
    store: Store<()>,
    instance: wasmi::Instance,
    /// What the last call was given.
    given: u64,
}

fn main() {
    let mut config = Config::default();
    // Fuel counts instructions and nothing else: no translation during the first call, hardly any for bytes.
    let costs = CustomFuelCosts {
        bytes_copied_per_fuel: u32::MAX,
        fuel_per_bytes_translated: 0,
        fuel_per_bytes_validated: 0,
    };
    config.consume_fuel(true).fuel_cost(costs).compilation_mode(CompilationMode::Eager);
    let engine = wasmi::Engine::new(&config);
    serve(&Engine {
        adapter: "wasmi",
        runtime: "wasmi",
        library: "wasmi",
        capabilities: &["externref", "fuel", "fuel-used", "grow", "resume-after-trap"],
        compile: &|binary| {
            let module = Module::new(&engine, binary).map_err(|error| reject("compile", &error))?;
            Ok(Box::new(move || instantiate(&module)))
        },
    });
}

fn instantiate(module: &Module) -> Result<Box<dyn Instance>, Failure> {
    let mut store = Store::new(module.engine(), ());
    store.set_fuel(u64::MAX).map_err(|error| error.to_string())?;
    let linked = Linker::new(module.engine()).instantiate_and_start(&mut store, module);
    let instance = linked.map_err(|error| match error.kind() {
        ErrorKind::TrapCode(_) => reject("start", &error),
        _ => reject("link", &error),
    })?;
    Ok(Box::new(Wasmi { store, instance, given: 0 }))
}

fn reject(stage: &'static str, error: &Error) -> Failure {
    Failure::Reject(stage, error.to_string())
}

impl Wasmi {
    fn memory(&self) -> Result<Memory, Failure> {
        let memory = self.instance.get_memory(&self.store, "memory");
        memory.ok_or_else(|| Failure::Error("no exported memory `memory`".to_owned()))
    }
}

impl Instance for Wasmi {
    fn call(&mut self, name: &str, arguments: &[Value], fuel: Option<u64>) -> Result<Vec<Value>, Failure> {
        let function = self.instance.get_func(&self.store, name);
        let function = function.ok_or_else(|| format!("no exported function `{name}`"))?;
        let arguments: Vec<Val> = arguments.iter().copied().map(into_val).collect();
        let mut results: Vec<Val> = function.ty(&self.store).results().iter().map(|_| Val::I32(0)).collect();
        self.given = fuel.unwrap_or(u64::MAX);
        self.store.set_fuel(self.given).map_err(|error| error.to_string())?;
        function.call(&mut self.store, &arguments, &mut results).map_err(failure)?;
        results.into_iter().map(from_val).collect()
    }

    fn used(&self) -> Option<u64> {
        Some(self.given - self.store.get_fuel().ok()?)
    }

    fn size(&self) -> Result<u64, Failure> {
        Ok(self.memory()?.size(&self.store))
    }

    fn grow(&mut self, pages: u32) -> Result<Option<u64>, Failure> {
        self.store.set_fuel(u64::MAX).map_err(|error| error.to_string())?;
        Ok(self.memory()?.grow(&mut self.store, pages.into()).ok())
    }

    fn read(&self, address: usize, bytes: &mut [u8]) -> Result<(), Failure> {
        let done = self.memory()?.read(&self.store, address, bytes);
        done.map_err(|error| Failure::Error(error.to_string()))
    }

    fn write(&mut self, address: usize, bytes: &[u8]) -> Result<(), Failure> {
        let done = self.memory()?.write(&mut self.store, address, bytes);
        done.map_err(|error| Failure::Error(error.to_string()))
    }

    fn global(&mut self, name: &str) -> Result<Value, Failure> {
        let global = self.instance.get_global(&self.store, name);
        from_val(global.ok_or_else(|| format!("no exported global `{name}`"))?.get(&self.store))
    }
}

fn failure(error: Error) -> Failure {
    let kind = match error.as_trap_code() {
        None => return Failure::Error(error.to_string()),
        Some(TrapCode::UnreachableCodeReached) => "unreachable",
        Some(TrapCode::MemoryOutOfBounds | TrapCode::TableOutOfBounds) => "out-of-bounds",
        Some(
            TrapCode::IntegerDivisionByZero | TrapCode::IntegerOverflow | TrapCode::BadConversionToInteger,
        ) => "integer",
        Some(TrapCode::StackOverflow) => "stack",
        Some(TrapCode::OutOfFuel) => "fuel",
        Some(_) => "other",
    };
    Failure::Trap(kind, error.to_string())
}

fn into_val(value: Value) -> Val {
    match value {
        Value::I32(number) => Val::I32(number as i32),
        Value::I64(number) => Val::I64(number as i64),
        Value::F32(bits) => Val::F32(f32::from_bits(bits).into()),
        Value::F64(bits) => Val::F64(f64::from_bits(bits).into()),
        Value::NullExternRef => Val::ExternRef(Nullable::Null),
    }
}

fn from_val(value: Val) -> Result<Value, Failure> {
    Ok(match value {
        Val::I32(number) => Value::I32(number as u32),
        Val::I64(number) => Value::I64(number as u64),
        Val::F32(number) => Value::F32(number.to_bits()),
        Val::F64(number) => Value::F64(number.to_bits()),
        Val::ExternRef(Nullable::Null) => Value::NullExternRef,
        _ => return Err(Failure::Error(format!("{value:?} has no form in the protocol"))),
    })
}
