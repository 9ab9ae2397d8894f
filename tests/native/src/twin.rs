//! One kernel over a vector, and what its latest panic said.

use std::any::Any;
use std::ffi::{CStr, CString};
use std::panic::{AssertUnwindSafe, catch_unwind};

use extism_kernel::{Memory, PAGE_BYTES};

use crate::common::{PlainKernel, TestMemory};

/// What the functions of the header work on.
pub struct Twin {
    kernel: PlainKernel,
    fault: Option<CString>,
    told: CString,
}

impl Twin {
    /// A kernel in fresh memory, which may grow to `limit` pages; beyond, growth is refused, or traps.
    pub fn new(limit: u32, traps: bool) -> Self {
        let mut memory = TestMemory::new(limit);
        memory.traps = traps;
        Self { kernel: PlainKernel::new(memory), fault: None, told: CString::default() }
    }

    /// Runs a call. A panic ends here: it becomes the fault, and the answer is 0.
    pub fn enter<R: Default>(&mut self, call: impl FnOnce(&mut PlainKernel) -> R) -> R {
        // A kernel has to stand a cut at any point, so what a panic leaves behind may be looked at.
        match catch_unwind(AssertUnwindSafe(|| call(&mut self.kernel))) {
            Ok(answer) => answer,
            Err(panic) => {
                self.fault = Some(CString::new(message(&*panic).replace('\0', " ")).unwrap_or_default());
                R::default()
            }
        }
    }

    /// The pending fault, which is pending no more, or `None`. Good until this is called again.
    pub fn take_fault(&mut self) -> Option<&CStr> {
        self.told = self.fault.take()?;
        Some(&self.told)
    }

    /// These bytes of memory, or `None` if any lies outside.
    pub fn bytes(&mut self, address: u64, length: u64) -> Option<&mut [u8]> {
        let start = usize::try_from(address).ok()?;
        let end = start.checked_add(usize::try_from(length).ok()?)?;
        self.kernel.memory_mut().bytes.get_mut(start..end)
    }

    /// The pages there are.
    pub fn pages(&self) -> u32 {
        self.kernel.memory().pages().0
    }

    /// Adds pages as a host does, under the kernel's own limit. False, and nothing is done, beyond it.
    pub fn grow(&mut self, delta: u32) -> bool {
        let memory = self.kernel.memory_mut();
        let pages = u64::from(memory.pages().0) + u64::from(delta);
        if pages > u64::from(memory.limit) {
            return false;
        }
        memory.bytes.resize(pages as usize * PAGE_BYTES as usize, 0);
        true
    }
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words")
}
