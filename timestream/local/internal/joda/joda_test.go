// SPDX-License-Identifier: Apache-2.0

package joda

import (
	"testing"
	"time"
)

var now = time.Date(2022, 6, 17, 10, 25, 20, 123456789, time.UTC)

func TestAppend(t *testing.T) {
	at := time.Date(2022, 6, 7, 15, 4, 5, 123456789, time.UTC).UnixNano()
	for _, tt := range []struct{ format, mysql, want string }{
		{mysql: "%Y-%m-%d %H:%i:%s.%f", want: "2022-06-07 15:04:05.123456"},
		{mysql: "%a %W %b %M %c %e %y %x-%v %j", want: "Tue Tuesday Jun June 6 7 22 2022-23 158"},
		{mysql: "%r|%T|%k|%l|%p|%%|%z|%", want: "03:04:05 PM|15:04:05|15|3|PM|%|z|"},
		{format: "yyyy-MM-dd'T'HH:mm:ss.SSSSSSSSSSZ", want: "2022-06-07T15:04:05.1234567890+0000"},
		{format: "G C yy YYYY x w D e E EEEE MMM MMMM a h K k z zzzz Z ZZ ZZZ", want: "AD 20 22 2022 2022 23 158 2 Tue Tuesday Jun June PM 3 3 15 UTC Coordinated Universal Time +0000 +00:00 UTC"},
		{format: "h 'o''clock' a ''", want: "3 o'clock PM '"},
		{format: "yyyyyy u LL", want: "002022 2022 06"},
	} {
		f, err := Pattern(tt.format, now)
		if tt.mysql != "" {
			f, err = MySQL(tt.mysql)
		}
		if err != nil {
			t.Errorf("%+v: %v", tt, err)
			continue
		}
		if got := string(f.Append(nil, at)); got != tt.want {
			t.Errorf("%+v: got %s", tt, got)
		}
	}
}

func TestParse(t *testing.T) {
	var zones Zones
	for _, tt := range []struct{ mysql, format, text, want string }{
		{mysql: "%Y-%m-%d %H:%i:%s", text: "2019-10-20 10:20:20", want: "2019-10-20 10:20:20"},
		{mysql: "%b %e %Y %h:%i:%s.%f %p", text: "Jun 7 2022 03:04:05.123456789 PM", want: "2022-06-07 15:04:05.123456789"},
		{mysql: "%W, %e %M %Y", text: "Tuesday, 7 june 2022", want: "2022-06-07 00:00:00"},
		{mysql: "%W, %e %M %Y", text: "Tuesday, 7 jUne 2022", want: `Invalid format: "Tuesday, 7 jUne 2022" is malformed at "jUne 2022"`},
		{mysql: "%y-%m", text: "69-12", want: "2069-12-01 00:00:00"},
		{mysql: "%y", text: "70", want: "1970-01-01 00:00:00"},
		{mysql: "%y", text: "1970", want: `Invalid format: "1970" is malformed at "70"`},
		{mysql: "%d", text: "7", want: "2000-01-07 00:00:00"},
		{mysql: "%v", text: "07", want: "2000-02-14 00:00:00"},
		{mysql: "%x-%v", text: "2020-53", want: "2020-12-28 00:00:00"},
		{mysql: "%x-%v", text: "2021-53", want: `Cannot parse "2021-53": Value 53 for weekOfWeekyear must be in the range [1,52]`},
		{mysql: "%Y-%j", text: "2022-160", want: "2022-06-09 00:00:00"},
		{mysql: "%Y-%m-%d", text: "2022-13-01", want: `Cannot parse "2022-13-01": Value 13 for monthOfYear must be in the range [1,12]`},
		{mysql: "%Y-%m-%d", text: "2022-02-30", want: `Cannot parse "2022-02-30": Value 30 for dayOfMonth must be in the range [1,28]`},
		{mysql: "%Y-%m-%d", text: "2022-02", want: `Invalid format: "2022-02" is too short`},
		{mysql: "%Y-%m-%d", text: "2022/02/03", want: `Invalid format: "2022/02/03" is malformed at "/02/03"`},
		{mysql: "%Y-%m-%d", text: "2022-02-03 10:00:00 and a text that is far too long for the message", want: `Invalid format: "2022-02-03 10:00:00 and a text that is far..." is malformed at " 10:00:00 and a text that is far..."`},
		{mysql: "%Y", text: "soon", want: `Invalid format: "soon"`},
		{mysql: "%H", text: "24", want: `Cannot parse "24": Value 24 for hourOfDay must be in the range [0,23]`},
		{mysql: "%Y", text: "1500", want: "Timestamp is out of range"},
		{mysql: "%Y", text: "1678", want: "1678-01-01 00:00:00"},
		{mysql: "", text: "", want: "1970-01-01 00:00:00"},
		{format: "yyyy-MM-dd HH", text: "1968-01-13 12", want: "1968-01-13 12:00:00"},
		{format: "yyyyMMdd", text: "20220607", want: "2022-06-07 00:00:00"},
		{format: "yy/MM", text: "2022/06", want: "2022-06-01 00:00:00"},
		{format: "yy/MM", text: "43/06", want: "1943-06-01 00:00:00"},
		{format: "yyyy-MM-dd HH:mm:ss Z", text: "2022-06-07 01:02:03 -0730", want: "2022-06-07 08:32:03"},
		{format: "yyyy-MM-dd HH:mm:ss ZZ", text: "2022-06-07 01:02:03 +01:00:30", want: "2022-06-07 00:01:33"},
		{format: "yyyy-MM-dd HH:mm Z", text: "2022-06-07 01:02 z", want: "2022-06-07 01:02:00"},
		{format: "yyyy-MM-dd HH:mm z", text: "2022-06-07 01:02 EST", want: "2022-06-07 05:02:00"},
		{format: "yyyy-MM-dd HH:mm z", text: "2022-06-07 01:02 CET", want: `Invalid format: "2022-06-07 01:02 CET" is malformed at "CET"`},
		{format: "yyyy-MM-dd HH:mm ZZZ", text: "2022-06-07 01:02 Europe/Berlin", want: "2022-06-06 23:02:00"},
		{format: "yyyy-MM-dd HH:mm ZZZ", text: "2022-03-27 02:30 Europe/Berlin", want: `Cannot parse "2022-03-27 02:30 Europe/Berlin": Illegal instant due to time zone offset transition (Europe/Berlin)`},
		{format: "yyyy-MM-dd HH:mm ZZZ", text: "2022-10-30 02:30 Europe/Berlin", want: "2022-10-30 00:30:00"},
		{format: "yyyy zzzz", text: "2022 Coordinated Universal Time", want: "Parsing not supported"},
		{format: "h a", text: "12 am", want: "1970-01-01 00:00:00"},
		{format: "yyyy G", text: "2022 BC", want: `Cannot parse "2022 BC": Timestamp is out of range`},
		{format: "CC yyyy", text: "19 2022", want: "2022-01-01 00:00:00"},
		{format: "xxxx-ww-e", text: "2020-53-7", want: "2021-01-03 00:00:00"},
		{format: "yyyy-MM-dd'T'HH", text: "2022-06-07t10", want: "2022-06-07 10:00:00"},
		{format: "'𝛼' yyyy", text: "𝛼 x", want: `Invalid format: "𝛼 x" is malformed at "x"`},
	} {
		f, err := MySQL(tt.mysql)
		if tt.format != "" {
			f, err = Pattern(tt.format, now)
		}
		if err != nil {
			t.Errorf("%+v: %v", tt, err)
			continue
		}
		ns, err := f.Parse(tt.text, &zones)
		got := time.Unix(0, ns).UTC().Format("2006-01-02 15:04:05.999999999")
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%+v: got %s", tt, got)
		}
	}
}

func TestBadFormats(t *testing.T) {
	for give, want := range map[string]string{"": "Invalid pattern specification", "yyyy-bb": "Illegal pattern component: bb", "q": "Illegal pattern component: q"} {
		if _, err := Pattern(give, now); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", give, err, want)
		}
	}
	if _, err := MySQL("%Y %D"); err == nil || err.Error() != "%D not supported in date format string" {
		t.Errorf("got %v", err)
	}
}

// FuzzFormat holds that what a format writes of a time it reads, if it says all of it, and that no text makes reading fail otherwise than by an error.
func FuzzFormat(f *testing.F) {
	f.Add("yyyy-MM-dd HH:mm:ss.SSSSSSSSS", int64(1655461520123456789), "x")
	f.Add("xxxx'w'ww e K a", int64(-1), "2020w53 7 3 PM")
	f.Add("G C ZZZ Z z", int64(0), "AD 19 Europe/Berlin +01:00 EST")
	var zones Zones
	whole, err := Pattern("yyyy-MM-dd HH:mm:ss.SSSSSSSSS", now)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, pattern string, ns int64, text string) {
		if got, err := whole.Parse(string(whole.Append(nil, ns)), &zones); err != nil || got != ns {
			t.Errorf("%d is read as %d, %v", ns, got, err)
		}
		if x, err := Pattern(pattern, now); err == nil {
			x.Append(nil, ns)
			_, _ = x.Parse(text, &zones) // only that it returns
		}
		if x, err := MySQL(pattern); err == nil {
			x.Append(nil, ns)
			_, _ = x.Parse(text, &zones)
		}
	})
}
