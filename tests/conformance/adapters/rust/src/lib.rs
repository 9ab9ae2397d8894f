//! Adapter protocol 1 over standard input and output, for every engine that has an [`Instance`].

use std::collections::HashMap;
use std::io::{BufRead, Write};

use serde_json::{json, Value as Json};

const PAGE: u64 = 65_536;

/// A value of WebAssembly; floats as their bits.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    I32(u32),
    I64(u64),
    F32(u32),
    F64(u64),
    NullExternRef,
}

/// Why an operation has no result.
#[derive(Debug)]
pub enum Failure {
    /// The module refused: the stage and the engine's words.
    Reject(&'static str, String),
    /// The call trapped: the kind and the engine's words.
    Trap(&'static str, String),
    /// The request makes no sense here.
    Error(String),
    Unsupported,
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Failure::Error(message)
    }
}

/// One instance of a module in one engine; the memory is the export `memory`.
pub trait Instance {
    fn call(&mut self, name: &str, arguments: &[Value], fuel: Option<u64>) -> Result<Vec<Value>, Failure>;
    /// The fuel that the last call used, if the engine counts it.
    fn used(&self) -> Option<u64> {
        None
    }
    /// Size of the memory in pages.
    fn size(&self) -> Result<u64, Failure>;
    /// The old size in pages, or `None` if the engine refused.
    fn grow(&mut self, pages: u32) -> Result<Option<u64>, Failure>;
    /// Reads inside the memory: the bounds are checked before.
    fn read(&self, address: usize, bytes: &mut [u8]) -> Result<(), Failure>;
    /// Writes inside the memory: the bounds are checked before.
    fn write(&mut self, address: usize, bytes: &[u8]) -> Result<(), Failure>;
    fn global(&mut self, name: &str) -> Result<Value, Failure>;
}

/// Makes instances of one compiled module.
pub type Maker<'a> = Box<dyn Fn() -> Result<Box<dyn Instance>, Failure> + 'a>;

/// Compiles the bytes of a module.
pub type Compiler<'a> = dyn Fn(&[u8]) -> Result<Maker<'a>, Failure> + 'a;

/// What an engine says of itself and how it makes an instance.
pub struct Engine<'a> {
    pub adapter: &'a str,
    pub runtime: &'a str,
    /// The crate whose version the lock file pins.
    pub library: &'a str,
    pub capabilities: &'a [&'a str],
    pub compile: &'a Compiler<'a>,
}

/// Answers requests until the input ends.
pub fn serve<'a>(engine: &'a Engine<'a>) {
    let mut server =
        Server { engine, instances: HashMap::new(), modules: HashMap::new(), results: Vec::new() };
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        let ask: Json = serde_json::from_str(&line).unwrap_or_default();
        let mut answer = if ask["op"] == "batch" {
            server.results.clear();
            for operation in ask["operations"].as_array().map_or(&[][..], |list| list) {
                let answer = server.answer(operation);
                server.results.push(answer);
            }
            json!({"result": "ok", "answers": std::mem::take(&mut server.results)})
        } else {
            server.answer(&ask)
        };
        answer["id"] = ask["id"].clone();
        if writeln!(output, "{answer}").and_then(|()| output.flush()).is_err() {
            return;
        }
    }
}

struct Server<'a> {
    engine: &'a Engine<'a>,
    instances: HashMap<String, Box<dyn Instance>>,
    /// By digest.
    modules: HashMap<String, Maker<'a>>,
    /// The answers so far of the batch at hand.
    results: Vec<Json>,
}

impl Server<'_> {
    /// The answer to one operation, all but its id.
    fn answer(&mut self, ask: &Json) -> Json {
        match self.perform(ask) {
            Ok(mut answer) => {
                answer["result"] = json!("ok");
                answer
            }
            Err(Failure::Reject(stage, why)) => json!({"result": "reject", "stage": stage, "message": why}),
            Err(Failure::Trap(kind, why)) => json!({"result": "trap", "kind": kind, "message": why}),
            Err(Failure::Error(why)) => json!({"result": "error", "message": why}),
            Err(Failure::Unsupported) => json!({"result": "unsupported"}),
        }
    }

    fn instantiate(&mut self, ask: &Json) -> Result<Box<dyn Instance>, Failure> {
        if ask["module"].is_null() {
            let digest = text(ask, "digest")?;
            let known = self.modules.get(digest);
            return known.ok_or_else(|| format!("no module {digest}"))?();
        }
        let make = (self.engine.compile)(&bytes(ask, "module")?)?;
        let instance = make();
        if let Some(digest) = ask["digest"].as_str() {
            self.modules.insert(digest.to_owned(), make);
        }
        instance
    }

    fn perform(&mut self, ask: &Json) -> Result<Json, Failure> {
        let engine = self.engine;
        let operation = ask["op"].as_str().unwrap_or_default();
        match operation {
            "hello" => {
                let capabilities = [engine.capabilities, &["batch", "modules"]].concat();
                return Ok(json!({"protocol": 1, "adapter": engine.adapter, "runtime": engine.runtime,
                    "version": version(engine.library), "capabilities": capabilities}));
            }
            "call" | "read" | "write" | "size" | "grow" | "global_get" | "instantiate" | "drop" => {}
            _ => return Err(Failure::Unsupported),
        }
        let name = text(ask, "instance")?;
        if operation == "instantiate" {
            let instance = self.instantiate(ask)?;
            self.instances.insert(name.to_owned(), instance);
            return Ok(json!({}));
        } else if operation == "drop" {
            let known = self.instances.remove(name).map(|_| json!({}));
            return known.ok_or_else(|| Failure::Error(format!("no instance `{name}`")));
        }
        let results = &self.results;
        let Some(instance) = self.instances.get_mut(name) else {
            return Err(Failure::Error(format!("no instance `{name}`")));
        };
        Ok(match operation {
            "call" => {
                let arguments = ask["args"].as_array().map_or(&[][..], |list| list);
                let arguments =
                    arguments.iter().map(|each| parse(each, results)).collect::<Result<Vec<_>, _>>()?;
                let fuel = ask["fuel"].as_str().map(number).transpose()?;
                let values = instance.call(text(ask, "name")?, &arguments, fuel)?;
                let mut answer = json!({"values": values.iter().map(show).collect::<Vec<_>>()});
                if let (Some(_), Some(used)) = (fuel, instance.used()) {
                    answer["used"] = json!(used.to_string());
                }
                answer
            }
            "read" => {
                let length = ask["length"].as_u64().ok_or_else(|| "`length` is no number".to_owned())?;
                let address = bounded(instance.as_ref(), ask, length, results)?;
                let mut buffer = vec![0; length as usize];
                instance.read(address, &mut buffer)?;
                json!({"bytes": hex::encode(buffer)})
            }
            "write" => {
                let data = bytes(ask, "bytes")?;
                instance.write(bounded(instance.as_ref(), ask, data.len() as u64, results)?, &data)?;
                json!({})
            }
            "size" => json!({"pages": instance.size()?}),
            "grow" => {
                let pages = ask["pages"].as_u64().map(u32::try_from);
                let old = match pages.ok_or_else(|| "`pages` is no number".to_owned())? {
                    Ok(pages) => instance.grow(pages)?,
                    Err(_) => None,
                };
                json!({"pages": old.map_or(json!(-1), |old| json!(old))})
            }
            _ => json!({"value": show(&instance.global(text(ask, "name")?)?)}),
        })
    }
}

/// The address of `length` bytes that lie inside the memory, compared in 64 bits.
fn bounded(instance: &dyn Instance, ask: &Json, length: u64, results: &[Json]) -> Result<usize, Failure> {
    let (address, end) = (refer(text(ask, "address")?, results)?, instance.size()? * PAGE);
    match address.checked_add(length) {
        Some(last) if last <= end => Ok(address as usize),
        _ => Err(Failure::Trap("out-of-bounds", format!("{address} + {length} is past {end}"))),
    }
}

fn text<'a>(ask: &'a Json, key: &str) -> Result<&'a str, Failure> {
    ask[key].as_str().ok_or_else(|| Failure::Error(format!("`{key}` is no string")))
}

fn bytes(ask: &Json, key: &str) -> Result<Vec<u8>, Failure> {
    hex::decode(text(ask, key)?).map_err(|error| Failure::Error(format!("`{key}`: {error}")))
}

fn number(digits: &str) -> Result<u64, Failure> {
    digits.parse().map_err(|error| Failure::Error(format!("`{digits}`: {error}")))
}

/// A number as it stands there, or one that refers to an earlier answer in the batch: `@3*65536+8`.
fn refer(text: &str, results: &[Json]) -> Result<u64, Failure> {
    let Some(reference) = text.strip_prefix('@') else { return number(text) };
    let (product, offset) = reference.split_once('+').unwrap_or((reference, "0"));
    let (place, factor) = product.split_once('*').unwrap_or((product, "1"));
    let answer = results.get(number(place)? as usize).unwrap_or(&Json::Null);
    let value = match answer["values"][0].as_str().and_then(|value| value.split_once(':')) {
        Some((_, digits)) => number(digits)?,
        None => answer["pages"].as_u64().ok_or_else(|| format!("`{text}` has no value"))?,
    };
    Ok(value.wrapping_mul(number(factor)?).wrapping_add(number(offset)?))
}

fn parse(argument: &Json, results: &[Json]) -> Result<Value, Failure> {
    let text = argument.as_str().unwrap_or_default();
    let value = match text.split_once(':') {
        Some(("i32", digits)) if digits.starts_with('@') => Some(Value::I32(refer(digits, results)? as u32)),
        Some(("i64", digits)) if digits.starts_with('@') => Some(Value::I64(refer(digits, results)?)),
        Some(("i32", digits)) => digits.parse().ok().map(Value::I32),
        Some(("i64", digits)) => digits.parse().ok().map(Value::I64),
        Some(("f32", bits)) => u32::from_str_radix(bits, 16).ok().map(Value::F32),
        Some(("f64", bits)) => u64::from_str_radix(bits, 16).ok().map(Value::F64),
        Some(("externref", "null")) => Some(Value::NullExternRef),
        _ => None,
    };
    value.ok_or_else(|| Failure::Error(format!("{argument} is no value")))
}

fn show(value: &Value) -> String {
    match value {
        Value::I32(number) => format!("i32:{number}"),
        Value::I64(number) => format!("i64:{number}"),
        Value::F32(bits) => format!("f32:{bits:08x}"),
        Value::F64(bits) => format!("f64:{bits:016x}"),
        Value::NullExternRef => "externref:null".to_owned(),
    }
}

/// The version of a crate that the lock file pins.
fn version(name: &str) -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let entry = lock.split("[[package]]").find(|entry| entry.starts_with(&format!("\nname = \"{name}\"\n")));
    entry.and_then(|entry| entry.split('"').nth(3)).unwrap_or("unknown")
}
