//! Object identifiers, by the names that their RFCs give them.

use const_oid::ObjectIdentifier;

macro_rules! oids {
    ($($(#[$doc:meta])* $name:ident = $dotted:literal;)*) => {
        $($(#[$doc])* pub const $name: ObjectIdentifier = ObjectIdentifier::new_unwrap($dotted);)*
    };
}

oids! {
    /// RFC 5280 appendix A.1, `id-at-commonName`.
    AT_COMMON_NAME = "2.5.4.3";
    /// RFC 5280 appendix A.1, `id-at-countryName`.
    AT_COUNTRY = "2.5.4.6";
    /// RFC 5280 appendix A.1, `id-at-localityName`.
    AT_LOCALITY = "2.5.4.7";
    /// RFC 5280 appendix A.1, `id-at-stateOrProvinceName`.
    AT_STATE = "2.5.4.8";
    /// RFC 5280 appendix A.1, `id-at-organizationName`.
    AT_ORGANIZATION = "2.5.4.10";
    /// RFC 5280 appendix A.1, `id-at-organizationalUnitName`.
    AT_ORGANIZATIONAL_UNIT = "2.5.4.11";

    /// RFC 5280 §4.2.1.2.
    CE_SUBJECT_KEY_IDENTIFIER = "2.5.29.14";
    /// RFC 5280 §4.2.1.3.
    CE_KEY_USAGE = "2.5.29.15";
    /// RFC 5280 §4.2.1.6.
    CE_SUBJECT_ALT_NAME = "2.5.29.17";
    /// RFC 5280 §4.2.1.9.
    CE_BASIC_CONSTRAINTS = "2.5.29.19";
    /// RFC 5280 §5.2.3.
    CE_CRL_NUMBER = "2.5.29.20";
    /// RFC 5280 §5.3.1.
    CE_CRL_REASONS = "2.5.29.21";
    /// RFC 5280 §5.2.4.
    CE_DELTA_CRL_INDICATOR = "2.5.29.27";
    /// RFC 5280 §5.2.5.
    CE_ISSUING_DISTRIBUTION_POINT = "2.5.29.28";
    /// RFC 5280 §4.2.1.15 and §5.2.6.
    CE_FRESHEST_CRL = "2.5.29.46";
    /// RFC 5280 §4.2.1.13.
    CE_CRL_DISTRIBUTION_POINTS = "2.5.29.31";
    /// RFC 5280 §4.2.1.10.
    CE_NAME_CONSTRAINTS = "2.5.29.30";
    /// RFC 5280 §4.2.1.4.
    CE_CERTIFICATE_POLICIES = "2.5.29.32";
    /// RFC 5280 §4.2.1.1.
    CE_AUTHORITY_KEY_IDENTIFIER = "2.5.29.35";
    /// RFC 5280 §4.2.1.12.
    CE_EXT_KEY_USAGE = "2.5.29.37";
    /// X.509 §9.5.2.8.
    CE_EXPIRED_CERTS_ON_CRL = "2.5.29.60";
    /// RFC 5280 §4.2.2.1.
    PE_AUTHORITY_INFO_ACCESS = "1.3.6.1.5.5.7.1.1";

    /// RFC 5280 §4.2.2.1, the access method of OCSP.
    AD_OCSP = "1.3.6.1.5.5.7.48.1";
    /// RFC 5280 §4.2.2.1, the access method of issuers' certificates.
    AD_CA_ISSUERS = "1.3.6.1.5.5.7.48.2";

    /// `anyExtendedKeyUsage`.
    KP_ANY = "2.5.29.37.0";
    /// TLS server authentication.
    KP_SERVER_AUTH = "1.3.6.1.5.5.7.3.1";
    /// TLS client authentication.
    KP_CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";
    /// Signing of executable code.
    KP_CODE_SIGNING = "1.3.6.1.5.5.7.3.3";
    /// E-mail protection.
    KP_EMAIL_PROTECTION = "1.3.6.1.5.5.7.3.4";
    /// IPsec end system (obsolete).
    KP_IPSEC_END_SYSTEM = "1.3.6.1.5.5.7.3.5";
    /// IPsec tunnel (obsolete).
    KP_IPSEC_TUNNEL = "1.3.6.1.5.5.7.3.6";
    /// IPsec user (obsolete).
    KP_IPSEC_USER = "1.3.6.1.5.5.7.3.7";
    /// Time stamping.
    KP_TIME_STAMPING = "1.3.6.1.5.5.7.3.8";
    /// Signing of OCSP responses (RFC 6960 §4.2.2.2).
    KP_OCSP_SIGNING = "1.3.6.1.5.5.7.3.9";
    /// Microsoft server gated cryptography.
    KP_MICROSOFT_SERVER_GATED_CRYPTO = "1.3.6.1.4.1.311.10.3.3";
    /// Netscape server gated cryptography.
    KP_NETSCAPE_SERVER_GATED_CRYPTO = "2.16.840.1.113730.4.1";
    /// Microsoft commercial code signing.
    KP_MICROSOFT_COMMERCIAL_CODE_SIGNING = "1.3.6.1.4.1.311.2.1.22";
    /// Microsoft kernel-mode code signing.
    KP_MICROSOFT_KERNEL_CODE_SIGNING = "1.3.6.1.4.1.311.61.1.1";

    /// RFC 2985 §5.4.1.
    CHALLENGE_PASSWORD = "1.2.840.113549.1.9.7";
    /// RFC 2985 §5.4.2.
    EXTENSION_REQUEST = "1.2.840.113549.1.9.14";
    /// Microsoft's own `extensionRequest`, from before RFC 2985.
    MICROSOFT_EXTENSION_REQUEST = "1.3.6.1.4.1.311.2.1.14";

    /// RFC 5652 §11.1.
    CONTENT_TYPE = "1.2.840.113549.1.9.3";
    /// RFC 5652 §11.2.
    MESSAGE_DIGEST = "1.2.840.113549.1.9.4";
    /// RFC 8551 §2.5.2.
    SMIME_CAPABILITIES = "1.2.840.113549.1.9.15";
    /// RFC 4108 §2.2.5, `id-aa-decryptKeyID`.
    DECRYPT_KEY_IDENTIFIER = "1.2.840.113549.1.9.16.2.37";
    /// RFC 7030 §4.4.1.2, `id-aa-asymmDecryptKeyID`.
    ASYMMETRIC_DECRYPT_KEY_IDENTIFIER = "1.2.840.113549.1.9.16.2.54";
    /// RFC 9908 §3.3, `id-aa-certificationRequestInfoTemplate`.
    CERTIFICATION_REQUEST_INFO_TEMPLATE = "1.2.840.113549.1.9.16.2.61";
    /// RFC 9908 §3.4, `id-aa-extensionReqTemplate`.
    EXTENSION_REQUEST_TEMPLATE = "1.2.840.113549.1.9.16.2.62";
    /// RFC 5958 §2, `id-ct-KP-aKeyPackage`.
    CT_ASYMMETRIC_KEY_PACKAGE = "2.16.840.1.101.2.1.2.78.5";

    /// RFC 5480 §2.1.1.
    EC_PUBLIC_KEY = "1.2.840.10045.2.1";
    /// RFC 8017 §A.1.
    RSA_ENCRYPTION = "1.2.840.113549.1.1.1";
    /// RFC 8017 §A.2.1.
    RSAES_OAEP = "1.2.840.113549.1.1.7";
    /// RFC 8017 §A.2.1.
    MGF1 = "1.2.840.113549.1.1.8";

    /// RFC 5652 §4.
    PKCS7_DATA = "1.2.840.113549.1.7.1";
    /// RFC 5652 §5.1.
    PKCS7_SIGNED_DATA = "1.2.840.113549.1.7.2";
    /// RFC 5652 §6.1.
    PKCS7_ENVELOPED_DATA = "1.2.840.113549.1.7.3";
    /// RFC 5083 §2, `id-ct-authEnvelopedData`.
    CT_AUTH_ENVELOPED_DATA = "1.2.840.113549.1.9.16.1.23";

    /// RFC 6960 §4.2.1.
    PKIX_OCSP_BASIC = "1.3.6.1.5.5.7.48.1.1";
    /// RFC 9654 §2.1.
    PKIX_OCSP_NONCE = "1.3.6.1.5.5.7.48.1.2";
    /// RFC 6960 §4.4.3.
    PKIX_OCSP_RESPONSE = "1.3.6.1.5.5.7.48.1.4";
    /// RFC 6960 §4.2.2.2.1.
    PKIX_OCSP_NOCHECK = "1.3.6.1.5.5.7.48.1.5";
    /// RFC 6960 §4.4.4.
    PKIX_OCSP_ARCHIVE_CUTOFF = "1.3.6.1.5.5.7.48.1.6";
    /// RFC 6960 §4.4.6.
    PKIX_OCSP_SERVICE_LOCATOR = "1.3.6.1.5.5.7.48.1.7";
    /// RFC 6960 §4.4.7.
    PKIX_OCSP_PREF_SIG_ALGS = "1.3.6.1.5.5.7.48.1.8";
    /// RFC 6960 §4.4.8.
    PKIX_OCSP_EXTENDED_REVOKE = "1.3.6.1.5.5.7.48.1.9";

    /// RFC 3279 §2.1.
    SHA1 = "1.3.14.3.2.26";
    /// RFC 5754 §2.2.
    SHA256 = "2.16.840.1.101.3.4.2.1";
    /// RFC 5754 §2.3.
    SHA384 = "2.16.840.1.101.3.4.2.2";
    /// RFC 5754 §2.4.
    SHA512 = "2.16.840.1.101.3.4.2.3";
}
