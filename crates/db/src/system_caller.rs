//! Who acts when nobody asked.

use lamassu_core::caller::{Caller, TraceContext};
use uuid::Uuid;

/// The context of work that no request asked for (a start, one run of a job, one delivery to a
/// subscription): named after it, and a trace of its own each time.
pub fn system_caller(name: &str) -> Caller {
    let (span_id, _) = Uuid::new_v4().as_u64_pair();
    let trace = TraceContext {
        trace_id: Uuid::new_v4().as_u128(),
        span_id,
    };
    Caller::system(name, trace)
}
