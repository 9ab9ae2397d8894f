//! Where everything is. `CONTRACT.md` has the drawing.

use crate::record::RECORD;

/// Bytes in a page of linear memory.
pub const PAGE_BYTES: u32 = 65_536;
/// Pages the module is born with (S-1).
pub const INITIAL_PAGES: u32 = 2;
/// A longer block is reused at once when it was freed.
pub const SMALL_MAX: u64 = 1024;

/// The kernel's fixed words begin here. Below is the null zone, which nothing uses: hosts that
/// overlook handle 0 write there.
pub const STATE_START: u32 = 48;

/// The address of the table's first record. The index is above it, at the upper end of what the
/// kernel owns.
pub const HEAD: u32 = STATE_START;
/// Pages owned, from which [`HEAD`] follows: if the two disagree, somebody wrote over them. One store
/// writes both, so a cut cannot part them.
pub const OWNED: u32 = STATE_START + 4;
/// What was used before ends here or below: blocks are cleared up to it when they are appended.
pub const USED: u32 = STATE_START + 8;
/// Where pages begin that somebody else grew into memory, or 0.
pub const HOLE_START: u32 = STATE_START + 12;
/// Where they end, or 0.
pub const HOLE_END: u32 = STATE_START + 16;

/// `reset` clears from here to [`STATE_END`].
pub const LIFE: u32 = STATE_START + 20;
/// Bytes from the first handle to the end of what was handed out.
pub const SPAN: u32 = LIFE;
/// Bytes of the table.
pub const TABLE: u32 = LIFE + 4;
/// The input register: offset and length.
pub const INPUT: u32 = LIFE + 8;
/// The output register: offset and length.
pub const OUTPUT: u32 = LIFE + 16;
/// The error register: a handle.
pub const ERROR: u32 = LIFE + 24;
/// Blocks that end here or below need no preparation; 0 sends all to the slow path.
pub const READY: u32 = LIFE + 28;
/// First of the records that merging gave back, linked through their [`RANK`](crate::record::RANK).
pub const SPARE: u32 = LIFE + 32;
/// The record of the output's block, if that was freed while the output held it.
pub const OUTPUT_FREED: u32 = LIFE + 36;
/// The record of the error's block, if that was freed while the register held it.
pub const ERROR_FREED: u32 = LIFE + 40;
/// A record that closes the row of ranges.
pub const ANCHOR: u32 = LIFE + 44;
/// Eight bytes of the anchor that are always 0.
pub const ZERO: u32 = ANCHOR + 16;
/// The heads of the lists of free ranges, one for each power of two: the oldest and the youngest.
pub const BINS: u32 = ANCHOR + RECORD;
/// Sizes of 2^31 and more are in the last list.
pub const BIN_COUNT: u32 = 32;
/// The end of the fixed words.
pub const STATE_END: u32 = BINS + 8 * BIN_COUNT;

/// The index has one word for each stretch of 2 to this many bytes. It leads to the range before the first
/// that begins there, and says how far below the first record the record of that range is.
pub const STRETCH: u32 = 12;
/// What is left of a page without its part of the index.
pub const PAGE_NET: u32 = PAGE_BYTES - (PAGE_BYTES >> STRETCH) * 4;
/// Where the first block's header lies.
pub const BASE: u32 = STATE_END;
/// Bytes before each block. The second word is the hint: how far below the first its record is.
pub const HEADER: u32 = 16;
/// The handle of the first block after every `reset` (L-2).
pub const FIRST_HANDLE: u32 = BASE + HEADER;

const _: () = assert!(BASE % 16 == 0, "handles are multiples of 16 (A-1)");
