//! Secrets under a passphrase: PKCS#8 `EncryptedPrivateKeyInfo` (RFC 5958) with PBES2 (RFC 8018), scrypt (RFC 7914) and AES-256-CBC, as PEM that OpenSSL reads.
//!
//! ```text
//! -----BEGIN ENCRYPTED PRIVATE KEY-----
//! PBES2 { scrypt { salt, N 16384, r 8, p 1 }, AES-256-CBC { IV } }, the PKCS#8 of the key, encrypted
//! -----END ENCRYPTED PRIVATE KEY-----
//! ```
//!
//! Whatever OpenSSL writes by PBES2 is read, too. Nothing says whether the passphrase is right but that something sensible comes out of it.

use dialtone_shared::SecretKey;
use pkcs8::der::pem::PemLabel;
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::Kdf;
use pkcs8::rand_core::TryCryptoRng;
use pkcs8::{EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef, SecretDocument};
use zeroize::Zeroizing;

/// Why a sealed secret cannot be opened or made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SealError {
    /// Nothing sensible comes out.
    #[error("the passphrase is wrong, or the file is damaged")]
    Wrong,
    /// The file ends too early, or is not what its first line says.
    #[error("not a whole encrypted private key: it is cut off, or was changed")]
    Damaged,
    /// A way of encrypting that is not read here.
    #[error("encrypted in a way that is not read here ({0}): `openssl pkcs8 -topk8 -scrypt` writes one that is")]
    Unknown(String),
    /// What it would take to try is more than anybody means.
    #[error("the work that a try would take is out of all proportion: this is no file to be opened")]
    TooCostly,
    /// The system gives no random numbers, or the like.
    #[error("it cannot be encrypted: {0}")]
    Failed(String),
}

/// Whether PEM holds a sealed secret, judged by its first line.
pub fn is_sealed(pem: &str) -> bool {
    pem.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
}

/// A secret under a passphrase, as PEM.
///
/// # Errors
/// [`SealError::Failed`].
pub fn seal<R: TryCryptoRng>(secret: &SecretKey, passphrase: &str, rng: &mut R) -> Result<Zeroizing<String>, SealError> {
    let failed = |error: pkcs8::Error| SealError::Failed(error.to_string());
    let der = secret.to_der();
    let info = PrivateKeyInfoRef::try_from(der.as_slice()).map_err(failed)?;
    let sealed = info.encrypt_with_rng(rng, passphrase).map_err(failed)?;
    sealed
        .to_pem(EncryptedPrivateKeyInfoRef::PEM_LABEL, LineEnding::LF)
        .map_err(|error| SealError::Failed(error.to_string()))
}

/// Opens what [`seal`] made, or OpenSSL.
///
/// # Errors
/// [`SealError`].
pub fn open(pem: &str, passphrase: &str) -> Result<SecretKey, SealError> {
    let (label, document) = SecretDocument::from_pem(pem.trim_ascii()).map_err(|_| SealError::Damaged)?;
    if label != EncryptedPrivateKeyInfoRef::PEM_LABEL {
        return Err(SealError::Damaged);
    }
    let info = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(error) => SealError::Unknown(error.to_string()),
        _ => SealError::Damaged,
    })?;
    let affordable = match &info.encryption_algorithm {
        EncryptionScheme::Pbes2(parameters) => match &parameters.kdf {
            Kdf::Scrypt(scrypt) => {
                let bytes = scrypt
                    .cost_parameter
                    .saturating_mul(u64::from(scrypt.block_size))
                    .saturating_mul(128);
                bytes <= SCRYPT_BYTES_MAX && scrypt.parallelization <= SCRYPT_LANES_MAX
            }
            Kdf::Pbkdf2(pbkdf2) => pbkdf2.iteration_count <= PBKDF2_ROUNDS_MAX,
            _ => return Err(SealError::Unknown("its key derivation".to_owned())),
        },
        _ => return Err(SealError::Unknown("PBES1".to_owned())),
    };
    if !affordable {
        return Err(SealError::TooCostly);
    }
    let opened = info.decrypt(passphrase).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(
            error @ (pkcs8::pkcs5::Error::UnsupportedAlgorithm { .. } | pkcs8::pkcs5::Error::AlgorithmParametersInvalid { .. }),
        ) => SealError::Unknown(error.to_string()),
        _ => SealError::Wrong,
    })?;
    SecretKey::from_der(opened.as_bytes()).map_err(|_| SealError::Wrong)
}

/// Memory that opening may take: 16 times what OpenSSL allows itself, more than anybody sets by hand.
const SCRYPT_BYTES_MAX: u64 = 512 << 20;
/// As often may that be gone through.
const SCRYPT_LANES_MAX: u16 = 64;
/// Some ten seconds.
const PBKDF2_ROUNDS_MAX: u32 = 20_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;

    fn sealed() -> Zeroizing<String> {
        seal(&SecretKey::from_seed(&[7; 32]), "correct horse", &mut rand::rng()).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_with_its_passphrase_only_and_is_never_the_same_twice() {
        let (one, two) = (sealed(), sealed());
        assert!(is_sealed(&one) && one.as_str() != two.as_str());
        assert_eq!(
            open(&one, "correct horse").unwrap().public(),
            SecretKey::from_seed(&[7; 32]).public()
        );
        for wrong in ["", "Correct horse", "correct horse "] {
            assert_eq!(open(&one, wrong).unwrap_err(), SealError::Wrong, "{wrong:?}");
        }
    }

    #[test]
    fn a_file_that_was_cut_off_is_told_from_a_wrong_passphrase() {
        let whole = sealed();
        for end in [30, 60, 120, whole.len() - 30] {
            assert_eq!(open(&whole[..end], "correct horse").unwrap_err(), SealError::Damaged, "{end}");
        }
        let plain = SecretKey::from_seed(&[7; 32]).to_pem();
        assert!(!is_sealed(&plain));
        assert_eq!(open(&plain, "x").unwrap_err(), SealError::Damaged);
    }

    #[test]
    fn a_file_that_would_take_all_memory_is_not_tried() {
        let whole = sealed();
        let body: String = whole.lines().filter(|line| !line.starts_with('-')).collect();
        let mut der = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
        // N = 16384 as a DER INTEGER, made 2^30 times as large: the lengths around it stay as they are.
        let at = der.windows(4).position(|part| part == [2, 2, 0x40, 0]).unwrap();
        der[at + 2] = 0x7f;
        assert!(open(&pem(&der), "correct horse").is_err());
        let iterations = "MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAgAAAAAAAAAAAIEfwAAADAMBggqhkiG9w0CCQUAMB0GCWCGSAFlAwQBKgQQAAAAAAAAAAAAAAAAAAAAAARA";
        let mut der = base64::engine::general_purpose::STANDARD.decode(iterations).unwrap();
        der.extend([0; 64]);
        assert_ne!(open(&pem(&der), "x").unwrap_err(), SealError::Wrong, "it was tried");
    }

    fn pem(der: &[u8]) -> String {
        let body = base64::engine::general_purpose::STANDARD.encode(der);
        let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
        format!(
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\n{}\n-----END ENCRYPTED PRIVATE KEY-----\n",
            lines.join("\n")
        )
    }
}
