//! Where everything is. `CONTRACT.md` has the drawing.

/// Bytes in a page of linear memory.
pub const PAGE_BYTES: u32 = 65_536;
/// Pages the module is born with (S-1).
pub const INITIAL_PAGES: u32 = 2;
/// The kernel never owns the last page, so that every end of a range fits 32 bits.
pub const MAX_PAGES: u32 = 65_535;
/// The largest length that is not refused at sight; all sums with it fit 32 bits.
pub const MAX_LENGTH: u64 = 0xffff_0000;
/// A block longer than this is reused at once when freed.
pub const SMALL_MAX: u64 = 1024;

/// The kernel's fixed words begin here. Below is the null zone, which nothing uses: hosts that
/// overlook handle 0 write there.
pub const STATE_START: u32 = 4096;

/// The address of the anchor record at the upper end of the table, and in the upper half the same
/// word XOR [`TOP_CHECK`]. One store writes both, so a cut cannot part them.
pub const TOP: u32 = STATE_START;
/// The lowest address that the table has ever had since memory last grew: clean below it.
pub const FLOOR: u32 = STATE_START + 8;
/// The highest end of a block in all earlier lives: clean above it.
pub const USED: u32 = STATE_START + 12;
/// How many of the [`HOLES`] there are.
pub const HOLE_COUNT: u32 = STATE_START + 16;
/// Pairs (low, high) of ranges that somebody else grew into memory, in address order.
pub const HOLES: u32 = STATE_START + 24;
/// More holes than this and the kernel asks for no further memory.
pub const HOLES_MAX: u32 = 8;

/// `reset` clears from here to [`STATE_END`].
pub const LIFE: u32 = HOLES + 8 * HOLES_MAX;
/// Bytes from the first handle to the end of what was handed out (64 bits).
pub const SPAN: u32 = LIFE;
/// The input register: offset, then length (64 bits each).
pub const INPUT: u32 = LIFE + 8;
/// The output register: offset, then length (64 bits each).
pub const OUTPUT: u32 = LIFE + 24;
/// The error register: a handle (64 bits).
pub const ERROR: u32 = LIFE + 40;
/// A block that ends here or below can be appended without preparation; 0 sends all to the slow path.
pub const READY: u32 = LIFE + 48;
/// The reference of the lowest record in the table.
pub const TAIL: u32 = LIFE + 52;
/// References up to here fit above [`FLOOR`].
pub const ROOM: u32 = LIFE + 56;
/// First of the records that merging gave back, linked through their [`LOW`](crate::record::LOW).
pub const SPARE: u32 = LIFE + 60;
/// Records in the table that describe no live block.
pub const IDLE: u32 = LIFE + 64;
/// Not 0 while records are being relinked: a call that was cut leaves it set until `reset`.
pub const BUSY: u32 = LIFE + 68;
/// The record of the output's block, if it was freed while the output held it.
pub const OUTPUT_FREED: u32 = LIFE + 72;
/// The record of the error's block, if it was freed while the register held it.
pub const ERROR_FREED: u32 = LIFE + 76;
/// The end of the fixed words.
pub const STATE_END: u32 = LIFE + 80;

/// Marks [`TOP`] as written by this kernel.
pub const TOP_CHECK: u32 = 0x4b58_7445;
/// Where the first block's header lies.
pub const BASE: u32 = STATE_END;
/// Bytes before each block: unused, then the hint (the reference of its record).
pub const HEADER: u32 = 8;
/// The handle of the first block after every `reset` (L-2).
pub const FIRST_HANDLE: u32 = BASE + HEADER;
/// From the anchor to the end of the pages owned.
pub const ANCHOR_BYTES: u32 = 64;

const _: () = assert!(BASE % 8 == 0, "handles are multiples of 8 (A-1)");
const _: () = assert!(ANCHOR_BYTES >= crate::record::RECORD, "the anchor is a record");
const _: () = assert!(MAX_LENGTH + 15 < 1 << 32, "sums with a length fit 32 bits");
