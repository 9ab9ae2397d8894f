//! Where everything is. `CONTRACT.md` has the drawing.

use crate::PageCount;

/// Bytes in a page of linear memory.
pub const PAGE_BYTES: u32 = 65_536;
/// Pages the module is born with (S-1).
pub const INITIAL_PAGES: PageCount = PageCount::new(2);
/// A longer block is reused at once when it was freed.
pub const SMALL_MAX: u64 = 1024;

/// The index has one word for each stretch of 2 to this many bytes. It leads to the range before the first
/// that begins there, and says how far below the first record the record of that range is.
pub const STRETCH: u32 = 11;
/// What is left of a page without its part of the index.
pub const PAGE_NET: u32 = PAGE_BYTES - (PAGE_BYTES >> STRETCH) * 4;
/// Where the table hangs in a fresh instance: at the end of the pages, but for the index.
pub const FIRST_HEAD: u32 = INITIAL_PAGES.get() * PAGE_NET - crate::record::RECORD;
/// Where the first block's header lies. Nothing is below: hosts that overlook handle 0 write there.
pub const BASE: u32 = 2032;
/// Bytes before each block. The second word is the hint: how far below the first its record is.
pub const HEADER: u32 = 16;
/// The handle of the first block after every `reset` (L-2).
pub const FIRST_HANDLE: u32 = BASE + HEADER;

const _: () = assert!(BASE % 16 == 0, "handles are multiples of 16 (A-1)");
