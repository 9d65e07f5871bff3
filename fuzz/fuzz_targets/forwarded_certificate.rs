//! The headers in which proxies hand over a client certificate. The first byte says how many
//! proxies stand in a row.
#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue};
use lamassu_gateway::hygiene::HeaderFormat;
use lamassu_x509::Certificate;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((hops, value)) = bytes.split_first() else {
        return;
    };
    let Ok(value) = HeaderValue::from_bytes(value) else {
        return;
    };
    for format in [
        HeaderFormat::Envoy,
        HeaderFormat::Nginx,
        HeaderFormat::AwsAlb,
    ] {
        let name = HeaderName::from_static(format.header());
        let headers = HeaderMap::from_iter([(name, value.clone())]);
        if let Some(chain) = format.read(&headers, usize::from(*hops)) {
            let end_entity = chain.end_entity().expect("a chain has an end entity");
            Certificate::from_der(end_entity.clone()).expect("the end entity is readable");
        }
    }
});
