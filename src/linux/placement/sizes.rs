//! What a kernel takes while it boots, as far as it is the same on every machine; seen with `memblock=debug` on the
//! kernels that Debian builds.

use crate::linux::kernel::Version;
use crate::units::ByteCount;

/// Sizes of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootSizes {
    /// The kernel image with the room for early page tables behind it.
    pub image: ByteCount,
    /// The data of one node (`pg_data_t`), with its alignment.
    pub node_data: ByteCount,
    /// What each processor keeps of its part of the per-processor memory.
    pub per_cpu: ByteCount,
    /// Bytes beside the text for each 32 bytes of the log (`struct prb_desc`, `struct printk_info`).
    pub log_record: ByteCount,
    /// The log that needs no memory of its own (`CONFIG_LOG_BUF_SHIFT`).
    pub log: ByteCount,
}

impl BootSizes {
    /// Those of a version.
    #[must_use]
    pub const fn of(version: Version) -> Self {
        let seven = Self {
            image: ByteCount(0x341_1000),
            node_data: ByteCount(0x2_b080),
            per_cpu: ByteCount(0x3_f000),
            log_record: ByteCount(24 + 112),
            log: ByteCount(128 << 10),
        };
        match version {
            Version::V7_2 => seven,
            Version::V6_12 => Self {
                image: ByteCount(0x2c1_1000),
                node_data: ByteCount(0x2_a980),
                per_cpu: ByteCount(0x4_2000),
                log_record: ByteCount(24 + 88),
                ..seven
            },
            Version::V6_1 => Self {
                node_data: ByteCount(0x2_b000),
                per_cpu: ByteCount(0x3_e000),
                log_record: ByteCount(24 + 88),
                ..seven
            },
        }
    }
}
