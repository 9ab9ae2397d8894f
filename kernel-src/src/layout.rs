//! Where everything is. `CONTRACT.md` has the drawing.

use crate::PageCount;

/// Bytes in a page of linear memory.
pub const PAGE_BYTES: u32 = 65_536;
/// Pages the module is born with (S-1).
pub const INITIAL_PAGES: PageCount = PageCount(2);
/// A longer block is reused at once when it was freed.
pub const SMALL_MAX: u64 = 1024;
/// A longer block is refused: there would be no room for the rest.
pub const LENGTH_MAX: u64 = 0xfff0_0000;

/// Where the first block's header lies. Nothing is below: hosts that overlook handle 0 write there.
pub const BASE: u32 = 2032;
/// Bytes before each block, so that handles are multiples of 16.
pub const HEADER: u32 = 16;
/// How far before a block its hint lies: beyond what a store reaches that runs 8 bytes past the block before.
pub const HINT: u32 = 4;
/// The handle of the first block after every `reset` (L-2).
pub const FIRST_HANDLE: u32 = BASE + HEADER;

/// Bytes of a record. The fields are listed in `record.rs`.
pub const RECORD: u32 = 20;
/// Records for which unused bytes are kept, so that ranges can be split when all else is full.
pub const RESERVE: u32 = 65 * RECORD;

/// Classes of free ranges: four for each doubling from 32 bytes on.
pub const BIN_COUNT: u32 = 108;
/// The bitmap of the bins that hold a range, from the anchor's address: its first word. The second is before it, and
/// before that are the last words of the anchor, which are 0.
pub const BITMAP: u32 = RECORD + 8;
/// The bins, from the anchor's address. Each has the links to its oldest and to its youngest range.
pub const BINS: u32 = BITMAP + 8;
/// From the anchor's address to the end of the kernel's pages.
pub const TAIL: u32 = BINS + BIN_COUNT * 8;
/// Where the anchor lies in a fresh instance.
pub const FIRST_HEAD: u32 = INITIAL_PAGES.0 * PAGE_BYTES - TAIL;

const _: () = assert!(BIN_COUNT <= 128, "the bitmap has two words");
const _: () = assert!(FIRST_HANDLE % 16 == 0, "handles are multiples of 16 (A-1)");
