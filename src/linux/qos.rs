//! QoS classes of device memory: what the platform answers, and which answers the kernel keeps
//! (`drivers/cxl/acpi.c: cxl_acpi_qos_class`, `core/cdat.c: cxl_qos_class_verify`).

use alloc::vec::Vec;

/// The answer of the platform when it is asked for the throttling group of memory (`_DSM` of ACPI0017, function 1).
/// The method is code that no table shows; here it answers the same for all memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QtgReply {
    /// It has no such method, or the method fails.
    None,
    /// The groups that it prefers, best first.
    Groups {
        /// The largest group that it says to have. A larger one in the list is taken all the same.
        largest: u16,
        /// The list.
        groups: Vec<u16>,
    },
}

impl QtgReply {
    /// What QEMU's machines answer: group 0 of two.
    #[must_use]
    pub fn of_qemu() -> Self {
        Self::Groups { largest: 1, groups: Vec::from([0]) }
    }

    /// The group that the kernel takes: the first. `None` where it takes none.
    #[must_use]
    pub fn class(&self) -> Option<i64> {
        match self {
            Self::None => None,
            Self::Groups { groups, .. } => groups.first().copied().map(i64::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_group_counts_even_above_the_largest() {
        assert_eq!(QtgReply::of_qemu().class(), Some(0));
        assert_eq!(QtgReply::Groups { largest: 1, groups: Vec::from([7, 0]) }.class(), Some(7));
        assert_eq!(QtgReply::Groups { largest: 1, groups: Vec::new() }.class(), None);
        assert_eq!(QtgReply::None.class(), None);
    }
}
