//! Checks over a finished certificate, before it is signed.
//!
//! A certificate that breaks a rule cannot be taken back, so the last look is at the very
//! bytes that will be signed. Each rule refuses, warns or is off. What relying parties cannot
//! read, and powers of a CA that only its request asked for, refuse by default; what is odd but in
//! use warns. Imported certificates are never
//! checked here.
//!
//! Next: [`LintRule`] for the rules and their requirements, `lint/rules.rs` for the checks.

mod names;
mod rules;

use std::collections::BTreeMap;

pub use rules::LintRule;

use crate::certificate::TbsCertificate;
use crate::issue::{Issuer, Profile};

/// What happens when a rule is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The certificate is not issued.
    Refuse,
    /// The certificate is issued, and the caller is told.
    Warn,
    /// The rule is not looked at.
    Off,
}

/// A certificate before it is signed, and what it was made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draft<'a> {
    pub(crate) certificate: &'a TbsCertificate,
    pub(crate) profile: &'a Profile,
    pub(crate) issuer: &'a Issuer,
}

/// The severity of every rule.
#[derive(Debug, Clone, Default)]
pub struct LintPolicy {
    changed: BTreeMap<LintRule, Severity>,
}

impl LintPolicy {
    /// Gives a rule another severity than its default.
    #[must_use]
    pub fn with(mut self, rule: LintRule, severity: Severity) -> Self {
        self.changed.insert(rule, severity);
        self
    }

    /// What happens when this rule is broken.
    pub fn severity(&self, rule: LintRule) -> Severity {
        self.changed
            .get(&rule)
            .copied()
            .unwrap_or_else(|| rule.default_severity())
    }

    /// The broken rules that warn about a certificate.
    ///
    /// # Errors
    ///
    /// The first broken rule that refuses.
    pub(crate) fn check(&self, draft: &Draft<'_>) -> Result<Vec<LintRule>, LintRule> {
        let mut warnings = Vec::new();
        for rule in LintRule::ALL {
            let severity = self.severity(rule);
            if severity == Severity::Off || !rule.is_broken_by(draft) {
                continue;
            }
            if severity == Severity::Refuse {
                return Err(rule);
            }
            warnings.push(rule);
        }
        Ok(warnings)
    }
}
