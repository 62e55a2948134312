//! AES-128-ECB with padding, in place, one direction each (section 3).
//!
//! Whole runs of blocks are handed to the cipher at once: a loop over single blocks takes seven times
//! as long.

use aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use aes::{Aes128Dec, Aes128Enc};

use crate::variants::Padding;

const BLOCK: usize = 16;

/// Why bytes do not decrypt (section 3, "What does not decrypt").
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CipherError {
    /// Zero, or no multiple of 16.
    #[error("a ciphertext of {0} bytes: not a positive multiple of 16")]
    Length(usize),
    /// A last byte of 0 or over 16, or padding bytes that differ.
    #[error("the padding is wrong, as it is under another key")]
    Padding,
}

/// Encrypts what one side sends.
#[derive(Clone)]
pub struct Encryptor {
    cipher: Aes128Enc,
    padding: Padding,
}

impl Encryptor {
    /// Expands a key.
    pub fn new(key: &[u8; 16], padding: Padding) -> Self {
        Self {
            cipher: Aes128Enc::new(&Array::from(*key)),
            padding,
        }
    }

    /// Returns the length of the ciphertext of so many bytes.
    pub fn encrypted_len(&self, plain: usize) -> usize {
        match self.padding {
            Padding::Pkcs7 => plain + BLOCK - plain % BLOCK,
            Padding::Zero => plain.next_multiple_of(BLOCK),
        }
    }

    /// Pads and encrypts what `buffer` holds from `start` on.
    pub fn encrypt_tail(&self, buffer: &mut Vec<u8>, start: usize) {
        let plain = buffer.len().saturating_sub(start);
        let padded = self.encrypted_len(plain);
        let fill = match self.padding {
            Padding::Pkcs7 => u8::try_from(padded - plain).unwrap_or_default(),
            Padding::Zero => 0,
        };
        buffer.resize(start + padded, fill);
        if let Some(tail) = buffer.get_mut(start..) {
            let (blocks, _) = Array::slice_as_chunks_mut(tail);
            self.cipher.encrypt_blocks(blocks);
        }
    }

    /// Encrypts one block as it is; used to make unpredictable WebSocket masks.
    pub(crate) fn block(&self, block: [u8; BLOCK]) -> [u8; BLOCK] {
        let mut block = Array::from(block);
        self.cipher.encrypt_block(&mut block);
        block.into()
    }
}

impl std::fmt::Debug for Encryptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Encryptor(***)")
    }
}

/// Decrypts what the other side sends.
#[derive(Clone)]
pub struct Decryptor {
    cipher: Aes128Dec,
    padding: Padding,
}

impl Decryptor {
    /// Expands a key.
    pub fn new(key: &[u8; 16], padding: Padding) -> Self {
        Self {
            cipher: Aes128Dec::new(&Array::from(*key)),
            padding,
        }
    }

    /// Decrypts in place and returns the text without its padding.
    ///
    /// # Errors
    /// Where the length is no positive multiple of 16 or the padding is wrong.
    pub fn decrypt<'a>(&self, buffer: &'a mut [u8]) -> Result<&'a mut [u8], CipherError> {
        if buffer.is_empty() || !buffer.len().is_multiple_of(BLOCK) {
            return Err(CipherError::Length(buffer.len()));
        }
        let (blocks, _) = Array::slice_as_chunks_mut(buffer);
        self.cipher.decrypt_blocks(blocks);
        let plain = match self.padding {
            Padding::Pkcs7 => pkcs7_len(buffer)?,
            Padding::Zero => {
                let zeros = buffer
                    .iter()
                    .rev()
                    .take(BLOCK - 1)
                    .take_while(|byte| **byte == 0);
                buffer.len() - zeros.count()
            }
        };
        buffer.get_mut(..plain).ok_or(CipherError::Padding)
    }
}

impl std::fmt::Debug for Decryptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decryptor(***)")
    }
}

fn pkcs7_len(padded: &[u8]) -> Result<usize, CipherError> {
    let fill = padded.last().copied().ok_or(CipherError::Padding)?;
    let count = usize::from(fill);
    if count == 0 || count > BLOCK {
        return Err(CipherError::Padding);
    }
    let plain = padded
        .len()
        .checked_sub(count)
        .ok_or(CipherError::Padding)?;
    let uniform = padded
        .get(plain..)
        .is_some_and(|tail| tail.iter().all(|byte| *byte == fill));
    if uniform {
        Ok(plain)
    } else {
        Err(CipherError::Padding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_any_length_survives_under_both_paddings() {
        for padding in [Padding::Pkcs7, Padding::Zero] {
            for length in 1..70 {
                let text = vec![b'x'; length];
                let mut buffer = b"head".to_vec();
                buffer.extend(&text);
                let encryptor = Encryptor::new(&[7; 16], padding);
                encryptor.encrypt_tail(&mut buffer, 4);
                assert_eq!(buffer.len() - 4, encryptor.encrypted_len(length));
                assert_eq!(&buffer[..4], b"head");
                let plain = Decryptor::new(&[7; 16], padding)
                    .decrypt(&mut buffer[4..])
                    .unwrap();
                assert_eq!(plain, text);
            }
        }
    }

    #[test]
    fn zero_padding_adds_nothing_where_the_text_fits() {
        assert_eq!(
            Encryptor::new(&[0; 16], Padding::Zero).encrypted_len(32),
            32
        );
        assert_eq!(
            Encryptor::new(&[0; 16], Padding::Pkcs7).encrypted_len(32),
            48
        );
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        let decryptor = Decryptor::new(&[0; 16], Padding::Pkcs7);
        for length in [0usize, 1, 15, 17] {
            assert_eq!(
                decryptor.decrypt(&mut vec![0; length]),
                Err(CipherError::Length(length))
            );
        }
    }
}
