//! Whether bytes can be a key or a value of a table.
//!
//! redb takes the layout of what it reads for granted, since it wrote it; a snapshot's rows come from a peer or from a disk
//! that may have changed them. What fits here is read without a panic; what it means is the row's reader's business.

use redb::Value;

/// A type of a table's keys or values.
pub(super) trait Layout: Value {
    /// Whether these bytes are laid out as a value of this type.
    fn fits(bytes: &[u8]) -> bool;
}

macro_rules! fixed {
    ($($type:ty),*) => {$(
        impl Layout for $type {
            fn fits(bytes: &[u8]) -> bool {
                Self::fixed_width() == Some(bytes.len())
            }
        }
    )*};
}
fixed!((), u8, u32, u64, &[u8; 16]);

impl Layout for &[u8] {
    fn fits(_: &[u8]) -> bool {
        true
    }
}

impl Layout for &str {
    fn fits(bytes: &[u8]) -> bool {
        std::str::from_utf8(bytes).is_ok()
    }
}

macro_rules! tuple {
    ($count:literal: $($type:ident $place:tt),*) => {
        impl<$($type: Layout),*> Layout for ($($type,)*)
        where
            Self: Value,
        {
            fn fits(bytes: &[u8]) -> bool {
                let parts = split::<$count>([$($type::fixed_width()),*], bytes);
                parts.is_some_and(|parts| $($type::fits(parts[$place]))&&*)
            }
        }
    };
}
tuple!(2: A 0, B 1);
tuple!(3: A 0, B 1, C 2);
tuple!(4: A 0, B 1, C 2, D 3);

/// The elements of a tuple as redb lays them out: first the lengths of those that have no fixed one, but for the last,
/// then all of them, of which the last is what remains.
fn split<const N: usize>(widths: [Option<usize>; N], mut bytes: &[u8]) -> Option<[&[u8]; N]> {
    let mut lengths = [0; N];
    for place in 0..N - 1 {
        lengths[place] = match widths[place] {
            Some(width) => width,
            None => take_length(&mut bytes)?,
        };
    }
    let mut parts = [bytes; N];
    for place in 0..N - 1 {
        (parts[place], bytes) = bytes.split_at_checked(lengths[place])?;
    }
    parts[N - 1] = bytes;
    Some(parts)
}

/// A length: one byte below 254, else 254 and two bytes or 255 and four.
fn take_length(bytes: &mut &[u8]) -> Option<usize> {
    let (first, rest) = bytes.split_first()?;
    let (length, rest) = match first {
        254 => rest.split_first_chunk().map(|(wide, rest)| (usize::from(u16::from_le_bytes(*wide)), rest))?,
        255 => {
            let (wide, rest) = rest.split_first_chunk()?;
            (usize::try_from(u32::from_le_bytes(*wide)).ok()?, rest)
        }
        short => (usize::from(*short), rest),
    };
    *bytes = rest;
    Some(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Wide = (u32, u64, &'static [u8]);
    type Lead = (&'static [u8], u64);
    type Ready = (&'static [u8], u8, u64);
    type Delayed = (u32, u64, u8, &'static [u8]);
    type Long = (u64, u64, &'static [u8], &'static [u8]);

    #[test]
    fn what_redb_would_panic_on_does_not_fit() {
        assert!(!u64::fits(&[0; 7]) && !u64::fits(&[0; 9]) && u64::fits(&[0; 8]));
        assert!(!<&[u8; 16]>::fits(&[0; 15]) && !<()>::fits(&[0]) && <()>::fits(&[]));
        assert!(!<&str>::fits(&[0xff]));
        assert!(!<(u64, u64)>::fits(&[0; 15]) && !<(u64, u64)>::fits(&[0; 17]));
        assert!(!Wide::fits(&[0; 11]) && Wide::fits(&[0; 12]) && Wide::fits(&[0; 40]));
        assert!(!Lead::fits(&[]) && !Lead::fits(&[9, 0]) && !Lead::fits(&[254, 1]) && !Lead::fits(&[255, 0, 0, 0, 1]));
    }

    proptest! {
        #[test]
        fn what_redb_writes_fits(a: u64, b: u64, c in prop::collection::vec(any::<u8>(), 0..70_000), d: u32) {
            prop_assert!(Long::fits(&Long::as_bytes(&(a, b, &c, &c))));
            prop_assert!(Wide::fits(&Wide::as_bytes(&(d, a, &c))));
            prop_assert!(Lead::fits(&Lead::as_bytes(&(&c, b))));
            prop_assert!(Ready::fits(&Ready::as_bytes(&(&c, 3, b))));
            prop_assert!(Delayed::fits(&Delayed::as_bytes(&(d, a, 3, &c))));
            prop_assert!(<(u64, u64)>::fits(&<(u64, u64)>::as_bytes(&(a, b))));
        }

        #[test]
        fn what_fits_is_read_by_redb(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(0), 250_u8..], 0..40)) {
            if Long::fits(&bytes) {
                let _ = Long::from_bytes(&bytes);
            }
            if Wide::fits(&bytes) {
                let _ = Wide::from_bytes(&bytes);
            }
            if Lead::fits(&bytes) {
                let _ = Lead::from_bytes(&bytes);
            }
        }
    }
}
