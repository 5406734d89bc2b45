//! Tokens of the two formats. Which bytes are legal where depends on what came before, hence the states.

/// What a token is; the names are those that Prometheus shows in its errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    Invalid,
    Eof,
    Linebreak,
    Whitespace,
    Help,
    Type,
    Unit,
    EofWord,
    Text,
    Comment,
    MetricName,
    Quoted,
    BraceOpen,
    BraceClose,
    LabelName,
    LabelValue,
    Comma,
    Equal,
    Timestamp,
    Value,
}

impl Token {
    pub fn name(self) -> &'static str {
        match self {
            Self::Invalid => "INVALID",
            Self::Eof => "EOF",
            Self::Linebreak => "LINEBREAK",
            Self::Whitespace => "WHITESPACE",
            Self::Help => "HELP",
            Self::Type => "TYPE",
            Self::Unit => "UNIT",
            Self::EofWord => "EOFWORD",
            Self::Text => "TEXT",
            Self::Comment => "COMMENT",
            Self::MetricName => "MNAME",
            Self::Quoted => "QSTRING",
            Self::BraceOpen => "BOPEN",
            Self::BraceClose => "BCLOSE",
            Self::LabelName => "LNAME",
            Self::LabelValue => "LVALUE",
            Self::Comma => "COMMA",
            Self::Equal => "EQUAL",
            Self::Timestamp => "TIMESTAMP",
            Self::Value => "VALUE",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Init,
    MetaName,
    MetaText,
    Value,
    Timestamp,
    Labels,
    LabelValue,
    Exemplar,
    ExemplarValue,
    ExemplarTimestamp,
}

/// A cursor over the input with the state of the line it is in.
#[derive(Debug, Clone)]
pub(super) struct Lexer<'a> {
    pub bytes: &'a [u8],
    /// Where the last token starts.
    pub start: usize,
    /// Where the last token ends; of an invalid one, the byte that could not be.
    pub end: usize,
    openmetrics: bool,
    state: State,
}

fn is_name_start(b: u8) -> bool {
    b.is_ascii_alphabetic() || b == b'_'
}

fn is_metric_start(b: u8) -> bool {
    is_name_start(b) || b == b':'
}

impl<'a> Lexer<'a> {
    pub fn new(bytes: &'a [u8], openmetrics: bool) -> Self {
        Self { bytes, start: 0, end: 0, openmetrics, state: State::Init }
    }

    /// Goes to the start of a line.
    pub fn jump(&mut self, position: usize) {
        self.start = position;
        self.end = position;
        self.state = State::Init;
    }

    /// The last token's bytes.
    pub fn text(&self) -> &'a [u8] {
        // The line break that text 0.0.4 is given at its end has no byte.
        self.bytes.get(self.start..self.end.min(self.bytes.len())).unwrap_or_default()
    }

    /// Text 0.0.4 may end without a line break: one is put there.
    fn byte(&self, i: usize) -> Option<u8> {
        match self.bytes.get(i) {
            None if i == self.bytes.len() && !self.openmetrics => Some(b'\n'),
            b => b.copied(),
        }
    }

    fn skip_while(&mut self, from: usize, accept: impl Fn(u8) -> bool) {
        self.end = from;
        while self.bytes.get(self.end).is_some_and(|b| accept(*b)) {
            self.end += 1;
        }
    }

    pub fn next(&mut self) -> Token {
        self.start = self.end;
        let Some(b) = self.byte(self.start) else { return Token::Eof };
        if self.openmetrics { self.openmetrics(b) } else { self.text_format(b) }
    }

    /// The next token that is no space (only text 0.0.4 has free spaces).
    pub fn next_solid(&mut self) -> Token {
        loop {
            let token = self.next();
            if token != Token::Whitespace {
                return token;
            }
        }
    }

    fn one(&mut self, token: Token, state: State) -> Token {
        self.end = self.start + 1;
        self.state = state;
        token
    }

    fn name(&mut self, accept: impl Fn(u8) -> bool, token: Token, state: State) -> Token {
        self.skip_while(self.start + 1, |b| accept(b) || b.is_ascii_digit());
        self.state = state;
        token
    }

    /// A string in quotes; `stop` are bytes that cannot be in it.
    fn quoted(&mut self, stop: &[u8], token: Token, state: State) -> Token {
        self.end = self.start + 1;
        loop {
            match self.byte(self.end) {
                None => return Token::Invalid,
                Some(b'"') => {
                    self.end += 1;
                    self.state = state;
                    return token;
                }
                Some(b'\\') => {
                    self.end += 1;
                    match self.byte(self.end) {
                        None | Some(b'\n') => return Token::Invalid,
                        Some(_) => self.end += 1,
                    }
                }
                Some(b) if stop.contains(&b) => return Token::Invalid,
                Some(_) if self.end >= self.bytes.len() => {
                    self.end += 1;
                    return Token::Invalid;
                }
                Some(_) => self.end += 1,
            }
        }
    }

    fn labels(&mut self, b: u8, closed: State, valued: State) -> Token {
        match b {
            b'"' => {
                let state = self.state;
                self.quoted(b"", Token::Quoted, state)
            }
            b'}' => self.one(Token::BraceClose, closed),
            b'=' => self.one(Token::Equal, valued),
            b',' => self.one(Token::Comma, self.state),
            b if is_name_start(b) => self.name(is_name_start, Token::LabelName, self.state),
            _ => Token::Invalid,
        }
    }

    fn text_format(&mut self, b: u8) -> Token {
        if matches!(b, b' ' | b'\t') && self.state != State::MetaText {
            self.skip_while(self.start + 1, |b| matches!(b, b' ' | b'\t'));
            return Token::Whitespace;
        }
        match (self.state, b) {
            (State::Init | State::Timestamp, b'\n') => self.one(Token::Linebreak, State::Init),
            (State::Init, b'#') => {
                self.skip_while(self.start + 1, |b| matches!(b, b' ' | b'\t'));
                if self.end == self.start + 1 {
                    return self.comment();
                }
                self.start = self.end;
                self.text_comment()
            }
            (State::Init, b'{') => self.one(Token::BraceOpen, State::Labels),
            (State::Init, b) if is_metric_start(b) => {
                self.name(is_metric_start, Token::MetricName, State::Value)
            }
            (State::MetaName, b'"') => self.quoted(b"", Token::MetricName, State::MetaText),
            (State::MetaName, b) if is_metric_start(b) => {
                self.name(is_metric_start, Token::MetricName, State::MetaText)
            }
            (State::MetaText, _) => {
                self.skip_while(self.start, |b| b != b'\n');
                self.state = State::Init;
                Token::Text
            }
            (State::Value, b'{') => self.one(Token::BraceOpen, State::Labels),
            (State::Value, b) if b != b'\n' => {
                self.skip_while(self.start + 1, |b| !matches!(b, b'{' | b' ' | b'\t' | b'\n'));
                self.state = State::Timestamp;
                Token::Value
            }
            (State::Timestamp, b) if b.is_ascii_digit() => {
                self.skip_while(self.start + 1, |b| b.is_ascii_digit());
                Token::Timestamp
            }
            (State::Labels, b) => self.labels(b, State::Value, State::LabelValue),
            (State::LabelValue, b'"') => self.quoted(b"", Token::LabelValue, State::Labels),
            _ => Token::Invalid,
        }
    }

    /// After `#` and spaces: HELP, TYPE, or any other comment.
    fn text_comment(&mut self) -> Token {
        for (word, token) in [(&b"HELP"[..], Token::Help), (b"TYPE", Token::Type)] {
            let after = self.start + word.len();
            if self.bytes[self.start..].starts_with(word)
                && matches!(self.bytes.get(after), Some(b' ' | b'\t'))
            {
                self.skip_while(after, |b| matches!(b, b' ' | b'\t'));
                self.state = State::MetaName;
                return token;
            }
        }
        self.comment()
    }

    fn comment(&mut self) -> Token {
        self.skip_while(self.end, |b| b != b'\n');
        self.state = State::Init;
        Token::Comment
    }

    fn openmetrics(&mut self, b: u8) -> Token {
        match (self.state, b) {
            (State::Init, b'#') => self.openmetrics_comment(),
            (State::Init, b'{') => self.one(Token::BraceOpen, State::Labels),
            (State::Init, b) if is_metric_start(b) => {
                self.name(is_metric_start, Token::MetricName, State::Value)
            }
            (State::MetaName, b'"') => self.quoted(b"", Token::MetricName, State::MetaText),
            (State::MetaName, b) if is_metric_start(b) => {
                self.name(is_metric_start, Token::MetricName, State::MetaText)
            }
            (State::MetaText, b' ') => {
                self.skip_while(self.start + 1, |b| b != b'\n');
                if self.end == self.bytes.len() {
                    return Token::Invalid;
                }
                self.end += 1;
                self.state = State::Init;
                Token::Text
            }
            (State::Value, b'{') => self.one(Token::BraceOpen, State::Labels),
            (State::Value, b' ') => self.spaced(Token::Value, State::Timestamp),
            (State::ExemplarValue, b' ') => self.spaced(Token::Value, State::ExemplarTimestamp),
            (State::ExemplarTimestamp, b' ') => self.spaced(Token::Timestamp, State::ExemplarTimestamp),
            (State::Timestamp | State::ExemplarTimestamp, b'\n') => self.one(Token::Linebreak, State::Init),
            (State::Timestamp, b' ') => {
                if self.spaced(Token::Timestamp, State::Timestamp) == Token::Timestamp {
                    // " # {" starts an exemplar; " # " and anything else cannot be.
                    if self.text() == b" #" && self.bytes.get(self.end) == Some(&b' ') {
                        self.end += 1;
                        if self.bytes.get(self.end) != Some(&b'{') {
                            return Token::Invalid;
                        }
                        self.end += 1;
                        self.state = State::Exemplar;
                        return Token::Comment;
                    }
                    return Token::Timestamp;
                }
                Token::Invalid
            }
            (State::Labels, b) => self.labels(b, State::Value, State::LabelValue),
            (State::LabelValue, b'"') => self.quoted(b"\n", Token::LabelValue, State::Labels),
            (State::Exemplar, b'=') => self.one(Token::Equal, State::ExemplarValue),
            (State::Exemplar, b) => self.labels(b, State::ExemplarValue, State::ExemplarValue),
            // A null byte is refused in exemplars only, as in Prometheus.
            (State::ExemplarValue, b'"') => self.quoted(b"\n\0", Token::LabelValue, State::Exemplar),
            _ => Token::Invalid,
        }
    }

    /// One space and everything up to the next space or line break.
    fn spaced(&mut self, token: Token, state: State) -> Token {
        self.skip_while(self.start + 1, |b| !matches!(b, b' ' | b'\n'));
        if self.end == self.start + 1 {
            return Token::Invalid;
        }
        self.state = state;
        token
    }

    fn openmetrics_comment(&mut self) -> Token {
        let mut reached = self.start + 1;
        for (word, token) in
            [(&b"# HELP "[..], Token::Help), (b"# TYPE ", Token::Type), (b"# UNIT ", Token::Unit)]
        {
            let same = self.same(word);
            if same == word.len() {
                self.end = self.start + same;
                self.state = State::MetaName;
                return token;
            }
            reached = reached.max(self.start + same);
        }
        if self.same(b"# EOF") == 5 {
            self.end = self.start + 5;
            if self.bytes.get(self.end) == Some(&b'\n') {
                self.end += 1;
            }
            return Token::EofWord;
        }
        self.end = reached.max(self.start + self.same(b"# EOF"));
        Token::Invalid
    }

    fn same(&self, word: &[u8]) -> usize {
        self.bytes[self.start..].iter().zip(word).take_while(|(a, b)| a == b).count()
    }
}
