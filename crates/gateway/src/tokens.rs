//! The tokens of the older dialect that hold at the moment (section 8). Pure: time and random bytes are
//! arguments.
//!
//! Input are claims; output is whether they are right, and new tokens. In memory alone: after a restart
//! clients get new ones for their key. Bounded: of too many pairs the oldest is forgotten, whose client
//! does the same.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hearthgate_protocol::crypto::{ApiKey, Credential, Token};
use hearthgate_protocol::limits::{TOKEN_LIFETIME, TOKENS_MAX};
use hearthgate_protocol::token::{Claim, Tokens};

use crate::gateway::GatewayOptions;

/// A refresh token holds longer than the access token beside it, so that a client which is late need
/// not show the key again.
const REFRESH_TIMES: u32 = 2;

/// The tokens that hold.
#[derive(Debug)]
pub(crate) struct TokenBook {
    key: ApiKey,
    lifetime: Duration,
    /// The oldest first.
    pairs: VecDeque<Pair>,
}

#[derive(Debug)]
struct Pair {
    access: Token,
    refresh: Token,
    given: Instant,
}

/// What became of a claim.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// New tokens.
    Give(Tokens),
    /// A session.
    Admit,
    /// Nothing; what was wrong or has expired.
    Deny(&'static str),
}

impl TokenBook {
    /// Makes one for a gateway that speaks the older dialect.
    pub(crate) fn of(options: &GatewayOptions) -> Option<Self> {
        match &options.connection.key {
            Credential::Api(key) => Some(Self::new(key.clone(), options.token_lifetime)),
            Credential::Device(_) => None,
        }
    }

    pub(crate) fn new(key: ApiKey, lifetime: Duration) -> Self {
        Self {
            key,
            lifetime: lifetime.max(Duration::from_secs(1)),
            pairs: VecDeque::new(),
        }
    }

    /// Decides on a claim; `random` are new random bytes.
    pub(crate) fn decide(&mut self, claim: &Claim, now: Instant, random: [u8; 48]) -> Decision {
        let age = |pair: &Pair| now.saturating_duration_since(pair.given);
        let refresh_holds = self.lifetime * REFRESH_TIMES;
        self.pairs.retain(|pair| age(pair) < refresh_holds);
        match claim {
            Claim::New(named) if self.key.is(named) => Decision::Give(self.give(now, random)),
            Claim::New(_) => Decision::Deny("API key"),
            Claim::Renew(refresh) => {
                // All are looked at: how long that takes tells nothing.
                let mut found = None;
                for (index, pair) in self.pairs.iter().enumerate() {
                    if pair.refresh == *refresh {
                        found = Some(index);
                    }
                }
                match found.and_then(|index| self.pairs.remove(index)) {
                    Some(_) => Decision::Give(self.give(now, random)),
                    None => Decision::Deny("refresh token"),
                }
            }
            Claim::Session(access) => {
                let holds = |pair: &Pair| age(pair) < self.lifetime;
                let matches = self.pairs.iter().filter(|pair| pair.access == *access);
                if matches.filter(|pair| holds(pair)).count() > 0 {
                    Decision::Admit
                } else {
                    Decision::Deny("access token")
                }
            }
        }
    }

    fn give(&mut self, now: Instant, random: [u8; 48]) -> Tokens {
        if self.pairs.len() >= TOKENS_MAX {
            self.pairs.pop_front();
        }
        let (access, refresh) = random.split_at(24);
        let text = |bytes: &[u8]| {
            Token::new(
                bytes
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect::<String>(),
            )
        };
        let tokens = Tokens {
            access: text(access),
            refresh: text(refresh),
            lifetime: self.lifetime,
        };
        self.pairs.push_back(Pair {
            access: tokens.access.clone(),
            refresh: tokens.refresh.clone(),
            given: now,
        });
        tokens
    }
}

/// How long access tokens hold unless told otherwise.
pub(crate) const LIFETIME: Duration = TOKEN_LIFETIME;

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    struct Bench {
        book: TokenBook,
        now: Instant,
        count: u8,
    }

    impl Bench {
        fn new() -> Self {
            let key = ApiKey::parse("the key").unwrap();
            let now = Instant::now();
            Self {
                book: TokenBook::new(key, HOUR),
                now,
                count: 0,
            }
        }

        fn decide(&mut self, claim: &Claim) -> Decision {
            self.count = self.count.wrapping_add(1);
            let mut random = [self.count; 48];
            random[24..].fill(!self.count);
            self.book.decide(claim, self.now, random)
        }

        fn tokens(&mut self) -> Tokens {
            match self.decide(&Claim::New(Token::new("the key"))) {
                Decision::Give(tokens) => tokens,
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_key_buys_tokens_that_open_sessions_until_they_expire() {
        let mut bench = Bench::new();
        let tokens = bench.tokens();
        assert_eq!(tokens.lifetime, HOUR);
        let open = Claim::Session(tokens.access.clone());
        assert_eq!(bench.decide(&open), Decision::Admit);
        // As often as one likes.
        assert_eq!(bench.decide(&open), Decision::Admit);
        bench.now += HOUR;
        assert_eq!(bench.decide(&open), Decision::Deny("access token"));
        for wrong in ["", "the ke", "the key ", "another"] {
            let claim = Claim::New(Token::new(wrong));
            assert_eq!(bench.decide(&claim), Decision::Deny("API key"));
        }
        // One kind of token does not stand for another.
        let tokens = bench.tokens();
        let claim = Claim::Session(tokens.refresh.clone());
        assert_eq!(bench.decide(&claim), Decision::Deny("access token"));
        let claim = Claim::Renew(tokens.access);
        assert_eq!(bench.decide(&claim), Decision::Deny("refresh token"));
    }

    #[test]
    fn a_refresh_token_buys_one_pair_and_ends_the_old_one() {
        let mut bench = Bench::new();
        let first = bench.tokens();
        bench.now += HOUR + HOUR / 2;
        let renew = Claim::Renew(first.refresh);
        let Decision::Give(second) = bench.decide(&renew) else {
            panic!("a late renewal is refused");
        };
        assert_ne!(second.access, first.access);
        assert_eq!(bench.decide(&renew), Decision::Deny("refresh token"));
        let old = Claim::Session(first.access);
        assert_eq!(bench.decide(&old), Decision::Deny("access token"));
        assert_eq!(
            bench.decide(&Claim::Session(second.access)),
            Decision::Admit
        );
        bench.now += HOUR * 2;
        let late = Claim::Renew(second.refresh);
        assert_eq!(bench.decide(&late), Decision::Deny("refresh token"));
    }

    #[test]
    fn a_flood_of_pairs_costs_bounded_memory_and_spares_the_newest() {
        let mut bench = Bench::new();
        for _ in 0..3 * TOKENS_MAX {
            bench.tokens();
        }
        assert_eq!(bench.book.pairs.len(), TOKENS_MAX);
        let newest = bench.tokens();
        assert_eq!(
            bench.decide(&Claim::Session(newest.access)),
            Decision::Admit
        );
    }
}
