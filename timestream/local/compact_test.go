// SPDX-License-Identifier: Apache-2.0

package local

import (
	"math/rand/v2"
	"testing"
)

// blockFile is a file whose free blocks are used again, the first ones first, and cut off at its end, as DuckDB does.
type blockFile struct{ used []int }

func (f *blockFile) count() (total, free int64) {
	for _, owner := range f.used {
		if owner == 0 {
			free++
		}
	}
	return int64(len(f.used)), free
}

func (f *blockFile) stretch(owner int) (s stretch) {
	for i, o := range f.used {
		if o == owner {
			s.blocks++
			s.highest = int64(i)
		}
	}
	return s
}

// move writes a run again and frees its blocks.
func (f *blockFile) move(owner int) {
	n := f.stretch(owner).blocks
	var freed []int
	for i, o := range f.used {
		if o == owner {
			freed = append(freed, i)
		}
	}
	for i := 0; n > 0; i++ {
		if i == len(f.used) {
			f.used = append(f.used, 0)
		}
		if f.used[i] == 0 {
			f.used[i] = owner
			n--
		}
	}
	for _, i := range freed {
		f.used[i] = 0
	}
	for f.used[len(f.used)-1] == 0 {
		f.used = f.used[:len(f.used)-1]
	}
}

// TestPacking: runs are moved until the file is about as small as what is in it, and not for ever when something else holds its end.
func TestPacking(t *testing.T) {
	const runs, pinned = 8, 9
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		layout := func(pin bool) *blockFile {
			f := &blockFile{used: make([]int, 10_000)}
			for run := 1; run <= runs; run++ {
				for range 100 + rng.IntN(2)*900 {
					for {
						if i := rng.IntN(len(f.used)); f.used[i] == 0 {
							f.used[i] = run
							break
						}
					}
				}
			}
			if pin {
				f.used = append(f.used, pinned)
			}
			return f
		}
		for _, pin := range []bool{false, true} {
			f := layout(pin)
			var p packing
			moves := 0
			for {
				total, free := f.count()
				if free < total/10 || p.packed > 0 && total <= p.packed+p.packed/20 {
					break
				}
				var list []stretch
				for run := 1; run <= runs; run++ {
					list = append(list, f.stretch(run))
				}
				i := p.choose(total, free, list)
				if i < 0 {
					break
				}
				f.move(i + 1)
				if moves++; moves > 100 {
					t.Fatalf("seed %d: it does not end", seed)
				}
			}
			total, free := f.count()
			if pin && moves > 2*runs {
				t.Errorf("seed %d: %d moves for nothing", seed, moves)
			}
			if !pin && free > total/4 {
				t.Errorf("seed %d: %d of %d blocks are free after %d moves", seed, free, total, moves)
			}
		}
	}
}
