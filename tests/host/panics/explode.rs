//! A plug-in whose function panics, with what its author needs to see in the message.

#[inline(never)]
fn divide(a: u32, b: u32) -> u32 {
    if b == 0 {
        panic!("cannot divide {a} by zero");
    }
    a / b
}

#[unsafe(no_mangle)]
pub extern "C" fn explode() -> i32 {
    #[cfg(not(target_os = "wasi"))]
    std::panic::set_hook(Box::new(|panic| write(&format!("{panic}\n"))));
    divide(7, std::env::args().count() as u32) as i32
}

/// Writes to stderr where the target's library cannot.
#[cfg(not(target_os = "wasi"))]
fn write(text: &str) {
    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    unsafe extern "C" {
        fn fd_write(descriptor: i32, vectors: *const [usize; 2], count: usize, written: *mut usize) -> i32;
    }
    let mut written = 0;
    // SAFETY: the vector describes `text`, and both live until the call returns.
    unsafe { fd_write(2, &[text.as_ptr() as usize, text.len()], 1, &mut written) };
}
