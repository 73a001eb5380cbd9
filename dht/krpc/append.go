package krpc

import "strconv"

// Append appends the packet that m describes, keys sorted.
func (m *Message) Append(b []byte) []byte {
	b = append(b, 'd')
	if m.Kind == Query {
		b = append(b, "1:a"...)
		b = m.Body.appendTo(b)
	}
	if m.Kind == Error {
		b = append(b, "1:eli"...)
		b = strconv.AppendInt(b, int64(m.Code), 10)
		b = append(b, 'e')
		b = appendString(b, m.Text)
		b = append(b, 'e')
	}
	if m.IP.IsValid() {
		size := "2:ip6:"
		if !m.IP.Addr().Unmap().Is4() {
			size = "2:ip18:"
		}
		b = AppendPeer(append(b, size...), m.IP)
	}
	if m.Kind == Query {
		b = append(b, "1:q"...)
		if m.Method == Other {
			b = appendString(b, m.Asked)
		} else {
			b = appendText(b, m.Method.String())
		}
	}
	if m.Kind == Reply {
		b = append(b, "1:r"...)
		b = m.Body.appendTo(b)
	}
	if m.ReadOnly {
		b = append(b, "2:roi1e"...)
	}
	b = appendString(append(b, "1:t"...), m.T)
	if m.Version != nil {
		b = appendString(append(b, "1:v"...), m.Version)
	}
	b = append(b, "1:y1:"...)
	return append(b, byte(m.Kind), 'e')
}

// appendTo appends the dictionary with the fields that m has.
func (m *Body) appendTo(b []byte) []byte {
	has := m.Has
	b = append(b, 'd')
	b = appendField(b, has&HasBFpe, "4:BFpe", m.BFpe)
	b = appendField(b, has&HasBFsd, "4:BFsd", m.BFsd)
	b = appendNumber(b, has&HasCas, "3:cas", m.Cas)
	b = appendID(b, has&HasID, "2:id", &m.ID)
	b = appendFlag(b, has&HasImpliedPort, "12:implied_port", m.ImpliedPort)
	b = appendID(b, has&HasInfoHash, "9:info_hash", &m.InfoHash)
	b = appendNumber(b, has&HasInterval, "8:interval", m.Interval)
	b = appendField(b, has&HasK, "1:k", m.K)
	b = appendField(b, has&HasName, "4:name", m.Name)
	b = appendField(b, has&HasNodes, "5:nodes", m.Nodes)
	b = appendField(b, has&HasNodes6, "6:nodes6", m.Nodes6)
	b = appendFlag(b, has&HasNoSeed, "6:noseed", m.NoSeed)
	b = appendNumber(b, has&HasNum, "3:num", m.Num)
	b = appendNumber(b, has&HasPort, "4:port", int64(m.Port))
	b = appendField(b, has&HasSalt, "4:salt", m.Salt)
	b = appendField(b, has&HasSamples, "7:samples", m.Samples)
	b = appendFlag(b, has&HasScrape, "6:scrape", m.Scrape)
	b = appendFlag(b, has&HasSeed, "4:seed", m.Seed)
	b = appendNumber(b, has&HasSeq, "3:seq", m.Seq)
	b = appendField(b, has&HasSig, "3:sig", m.Sig)
	b = appendID(b, has&HasTarget, "6:target", &m.Target)
	b = appendField(b, has&HasToken, "5:token", m.Token)
	if has&HasV != 0 {
		b = append(append(b, "1:v"...), m.V...)
	}
	if has&HasValues != 0 {
		b = append(append(b, "6:valuesl"...), m.Values...)
		b = append(b, 'e')
	}
	if has&HasWant != 0 {
		b = append(b, "4:wantl"...)
		if m.Want&WantNodes != 0 {
			b = append(b, "2:n4"...)
		}
		if m.Want&WantNodes6 != 0 {
			b = append(b, "2:n6"...)
		}
		b = append(b, 'e')
	}
	return append(b, 'e')
}

func appendString(b, s []byte) []byte {
	b = strconv.AppendInt(b, int64(len(s)), 10)
	return append(append(b, ':'), s...)
}

func appendText(b []byte, s string) []byte {
	b = strconv.AppendInt(b, int64(len(s)), 10)
	return append(append(b, ':'), s...)
}

func appendField(b []byte, has Field, key string, s []byte) []byte {
	if has == 0 {
		return b
	}
	return appendString(append(b, key...), s)
}

func appendID(b []byte, has Field, key string, id *ID) []byte {
	if has == 0 {
		return b
	}
	raw := id.AsByteArray()
	return append(append(append(b, key...), "20:"...), raw[:]...)
}

func appendNumber(b []byte, has Field, key string, n int64) []byte {
	if has == 0 {
		return b
	}
	b = append(append(b, key...), 'i')
	return append(strconv.AppendInt(b, n, 10), 'e')
}

func appendFlag(b []byte, has Field, key string, on bool) []byte {
	if has == 0 {
		return b
	}
	if b = append(b, key...); on {
		return append(b, "i1e"...)
	}
	return append(b, "i0e"...)
}
