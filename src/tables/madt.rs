//! MADT, the Multiple APIC Description Table: its processor structures (ACPI 6.6 §5.2.12).
