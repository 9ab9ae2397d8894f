//! The numbers that must not be taken for each other, told apart by type.
//!
//! Lengths and values stay plain. So do places, the addresses of headers and whatever else the kernel itself computes:
//! they are always inside its memory, and only ever added to, subtracted and compared.

/// Declares a number with a type of its own.
macro_rules! unit {
    ($name:ident($type:ty) $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(transparent)]
        pub struct $name($type);

        impl $name {
            /// What a plain number says, whether there is such a thing or not.
            #[inline(always)]
            pub const fn new(value: $type) -> Self {
                Self(value)
            }

            /// The plain number.
            #[inline(always)]
            pub const fn get(self) -> $type {
                self.0
            }
        }
    };
}

unit!(Handle(u64) "The address of a block's first byte, as the ABI has it; 0 is none.");
unit!(Address(u64) "Any offset into memory, or beyond it, that a guest or a host names.");
unit!(PageCount(u32) "A number of pages of 64 KiB.");

impl Handle {
    /// No block.
    pub const NONE: Self = Self(0);

    /// Where the block's first byte is.
    #[inline(always)]
    pub const fn address(self) -> Address {
        Address(self.0)
    }
}
