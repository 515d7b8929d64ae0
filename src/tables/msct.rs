//! MSCT, the Maximum System Characteristics Table (ACPI 6.6 §5.2.19).
