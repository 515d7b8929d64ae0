//! HMAT, the Heterogeneous Memory Attribute Table (ACPI 6.6 §5.2.27).
