//! Sums over the field of integers modulo 2^61 − 1, from whose difference one odd name can be computed.

use dialtone_shared::message::reconcile::{PRINT_BYTES, SUM_BYTES};
use std::ops::{AddAssign, Sub};

/// An element of the field.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Element(u64);

/// The sum of some records: of their values, and of their values times their tags.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sum {
    /// Σ v.
    pub values: Element,
    /// Σ v·t.
    pub moments: Element,
}

impl Element {
    /// The element that these 64 bits stand for, never zero: the value of a record must show.
    pub fn of_hash(bits: u64) -> Self {
        let reduced = reduce(u128::from(bits));
        Self(reduced.max(1))
    }

    /// As a number.
    pub fn number(self) -> u64 {
        self.0
    }

    /// The element of this number, if it is one.
    pub fn from_number(number: u64) -> Option<Self> {
        (number < MODULUS).then_some(Self(number))
    }

    /// The product.
    pub fn times(self, other: Self) -> Self {
        Self(reduce(u128::from(self.0) * u128::from(other.0)))
    }

    /// What this must be multiplied with to give one; `None` for zero. By Fermat: the power p − 2.
    pub fn inverse(self) -> Option<Self> {
        let (mut result, mut square, mut exponent) = (Self(1), self, MODULUS - 2);
        while exponent > 0 {
            if exponent & 1 == 1 {
                result = result.times(square);
            }
            square = square.times(square);
            exponent >>= 1;
        }
        (self.0 != 0).then_some(result)
    }
}

impl AddAssign for Element {
    fn add_assign(&mut self, other: Self) {
        let sum = self.0 + other.0;
        self.0 = if sum >= MODULUS { sum - MODULUS } else { sum };
    }
}

impl Sub for Element {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(if self.0 >= other.0 {
            self.0 - other.0
        } else {
            self.0 + MODULUS - other.0
        })
    }
}

impl Sum {
    /// Counts one record in.
    pub fn add(&mut self, value: Element, tag: Element) {
        self.values += value;
        self.moments += value.times(tag);
    }

    /// What is sent of it to ask whether the other side's is the same.
    pub fn print(&self) -> [u8; PRINT_BYTES] {
        let mut print = [0; PRINT_BYTES];
        // The lowest bits: those of a sum modulo 2^61 − 1 are as even as all of it.
        print.copy_from_slice(&self.values.0.to_be_bytes()[8 - PRINT_BYTES..]);
        print
    }

    /// If it differs from `other` in one name only, that name's tag. If it differs in several, something else or nothing.
    pub fn odd_tag(&self, other: &Self) -> Option<Element> {
        let difference = *self - *other;
        difference.values.inverse().map(|inverse| difference.moments.times(inverse))
    }

    /// As it travels.
    pub fn to_bytes(self) -> [u8; SUM_BYTES] {
        ((u128::from(self.values.0) << 64) | u128::from(self.moments.0)).to_be_bytes()
    }

    /// Reads what [`Sum::to_bytes`] writes.
    pub fn from_bytes(bytes: &[u8; SUM_BYTES]) -> Option<Self> {
        let both = u128::from_be_bytes(*bytes);
        Some(Self {
            values: Element::from_number((both >> 64) as u64)?,
            moments: Element::from_number(both as u64)?,
        })
    }
}

impl AddAssign for Sum {
    fn add_assign(&mut self, other: Self) {
        self.values += other.values;
        self.moments += other.moments;
    }
}

impl Sub for Sum {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            values: self.values - other.values,
            moments: self.moments - other.moments,
        }
    }
}

/// Modulo 2^61 − 1: 2^61 is 1, so what is above the lowest 61 bits is added to them. Good for products of two elements.
fn reduce(number: u128) -> u64 {
    let once = (number & u128::from(MODULUS)) + (number >> 61);
    let twice = (once as u64 & MODULUS) + (once >> 61) as u64;
    if twice >= MODULUS { twice - MODULUS } else { twice }
}

/// A Mersenne prime.
const MODULUS: u64 = (1 << 61) - 1;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn element() -> impl Strategy<Value = Element> {
        prop_oneof![
            Just(Element(1)),
            Just(Element(MODULUS - 1)),
            any::<u64>().prop_map(Element::of_hash)
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_field(a in element(), b in element(), c in element()) {
            let plus = |mut x: Element, y| { x += y; x };
            prop_assert_eq!(a.times(b), b.times(a));
            prop_assert_eq!(u128::from(a.times(b).0), u128::from(a.0) * u128::from(b.0) % u128::from(MODULUS));
            prop_assert_eq!(plus(a, b).times(c), plus(a.times(c), b.times(c)));
            prop_assert_eq!(plus(a - b, b), a);
            prop_assert_eq!(a.inverse().map(|inverse| inverse.times(a)), Some(Element(1)));
        }

        #[test]
        fn one_odd_name_shows_its_tag_whatever_else_is_summed(
            both in proptest::collection::vec((element(), element()), 0..20), ours in element(), theirs in element(), tag in element(),
        ) {
            let mut sums = [Sum::default(); 2];
            for (value, tag) in both {
                sums.iter_mut().for_each(|sum| sum.add(value, tag));
            }
            prop_assert_eq!(sums[0].odd_tag(&sums[1]), None);
            sums[0].add(ours, tag);
            prop_assert_eq!(sums[0].odd_tag(&sums[1]), Some(tag));
            prop_assert_eq!(sums[1].odd_tag(&sums[0]), Some(tag));
            sums[1].add(theirs, tag);
            prop_assert_eq!(sums[0].odd_tag(&sums[1]), (ours != theirs).then_some(tag));
            prop_assert_eq!(Sum::from_bytes(&sums[0].to_bytes()), Some(sums[0]));
        }
    }

    #[test]
    fn what_is_no_element_is_not_read_as_one() {
        let mut bytes = Sum::default().to_bytes();
        bytes[..8].copy_from_slice(&MODULUS.to_be_bytes());
        assert_eq!(Sum::from_bytes(&bytes), None);
        assert_eq!(Element::of_hash(0).number(), 1);
        assert_eq!(Element::of_hash(MODULUS).number(), 1);
    }
}
