//! CEDT, the CXL Early Discovery Table (CXL 3.1 §9.18.1).
