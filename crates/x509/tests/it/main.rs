//! Readers and builders from outside; what is made here is judged by openssl and pkilint.
#![cfg(test)]

mod certificate;
mod cms;
mod crl;
mod csr;
mod csr_attrs;
mod issuing;
mod judged;
mod key_policy;
mod lint;
mod name;
mod no_panic;
mod ocsp;
mod openssl;
mod pem;
mod pkcs7;
mod pkilint;
mod san;
mod serial;
mod support;
