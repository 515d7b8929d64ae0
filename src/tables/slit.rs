//! SLIT, the System Locality Distance Information Table (ACPI 6.6 §5.2.17).
