// SPDX-License-Identifier: Apache-2.0

package duck

/*
#include <stdint.h>
#include <stdlib.h>
extern void tributaryCall(void *info, void *chunk, void *out);
extern void tributaryForget(void *handle);
extern void tributaryBind(void *info);
extern void *tributaryCopy(void *cell);
*/
import "C"

import (
	"errors"
	"fmt"
	"runtime/cgo"
	"sync"
	"unsafe"

	bindings "github.com/duckdb/duckdb-go-bindings"
)

// Kind is a type of an argument or a result of a Function.
type Kind struct {
	id bindings.Type
	// kids are the element of a list, or the fields of a struct with their names.
	kids  []Kind
	names []string
}

// Boolean is BOOLEAN.
func Boolean() Kind { return Kind{id: bindings.TypeBoolean} }

// Bigint is BIGINT.
func Bigint() Kind { return Kind{id: bindings.TypeBigInt} }

// Double is DOUBLE.
func Double() Kind { return Kind{id: bindings.TypeDouble} }

// Varchar is VARCHAR.
func Varchar() Kind { return Kind{id: bindings.TypeVarchar} }

// Blob is BLOB.
func Blob() Kind { return Kind{id: bindings.TypeBlob} }

// List is a list of elements.
func List(element Kind) Kind { return Kind{id: bindings.TypeList, kids: []Kind{element}} }

// Point is a struct of the fields t, a BIGINT, and v.
func Point(v Kind) Kind {
	return Kind{id: bindings.TypeStruct, kids: []Kind{Bigint(), v}, names: []string{"t", "v"}}
}

// logical makes DuckDB's type, which the caller frees.
func (k Kind) logical() bindings.LogicalType {
	if k.kids == nil {
		return bindings.CreateLogicalType(k.id)
	}
	kids := make([]bindings.LogicalType, len(k.kids))
	for i := range kids {
		kids[i] = k.kids[i].logical()
	}
	defer func() {
		for i := range kids {
			bindings.DestroyLogicalType(&kids[i])
		}
	}()
	if k.id == bindings.TypeList {
		return bindings.CreateListType(kids[0])
	}
	return bindings.CreateStructType(kids, k.names)
}

// Function is a function of SQL that is written in Go. The same arguments must give the same result, or the same error.
type Function struct {
	Name string
	In   []Kind
	Out  Kind
	// Call computes the rows of a chunk; an error ends the statement with its text. DuckDB's threads call it at the same time. A row is NULL
	// until something is set, and what is in `in` is valid during the call.
	Call func(in []Column, rows int, out *Vector) error
}

// stops are the connections whose statement is to end, by their numbers. DuckDB looks for an interrupt between two chunks only, and TRY calls a function
// with one row after another where one of a chunk has an error: so the functions look for themselves.
type stops struct{ ids sync.Map }

func (s *stops) set(id uint64, on bool) {
	if on {
		s.ids.Store(id, true)
		return
	}
	s.ids.Delete(id)
}

func (s *stops) has(id uint64) bool {
	_, ok := s.ids.Load(id)
	return ok
}

// errStopped ends a call whose statement is to end; nobody sees it.
var errStopped = errors.New("the statement was interrupted")

// registered is a function of a database.
type registered struct {
	Function
	stops *stops
}

// Register makes functions known to all connections of the database.
func (d *Database) Register(functions ...Function) error {
	c, err := d.Connect()
	if err != nil {
		return err
	}
	defer c.Close()
	for _, f := range functions {
		if err := c.register(&registered{f, &d.stops}); err != nil {
			return err
		}
	}
	return nil
}

func (c *Conn) register(f *registered) error {
	sf := bindings.CreateScalarFunction()
	defer bindings.DestroyScalarFunction(&sf)
	bindings.ScalarFunctionSetName(sf, f.Name)
	for _, k := range f.In {
		lt := k.logical()
		bindings.ScalarFunctionAddParameter(sf, lt)
		bindings.DestroyLogicalType(&lt)
	}
	lt := f.Out.logical()
	bindings.ScalarFunctionSetReturnType(sf, lt)
	bindings.DestroyLogicalType(&lt)
	// NULLs are seen by Call.
	bindings.ScalarFunctionSetSpecialHandling(sf)
	// DuckDB keeps C memory only, which holds the number of the function.
	cell := C.malloc(C.size_t(unsafe.Sizeof(cgo.Handle(0))))
	*(*cgo.Handle)(cell) = cgo.NewHandle(f)
	bindings.ScalarFunctionSetExtraInfo(sf, cell, C.tributaryForget)
	bindings.ScalarFunctionSetBind(sf, C.tributaryBind)
	bindings.ScalarFunctionSetFunction(sf, C.tributaryCall)
	if bindings.RegisterScalarFunction(c.conn, sf) == bindings.StateError {
		return fmt.Errorf("duckdb: cannot register the function %s", f.Name)
	}
	return nil
}

//export tributaryForget
func tributaryForget(cell unsafe.Pointer) {
	(*(*cgo.Handle)(cell)).Delete()
	C.free(cell)
}

// newCell keeps the number of a connection in C memory.
func newCell(id uint64) unsafe.Pointer {
	cell := C.malloc(C.size_t(unsafe.Sizeof(id)))
	*(*uint64)(cell) = id
	return cell
}

// tributaryBind notes whose statement a call is in.
//
//export tributaryBind
func tributaryBind(info unsafe.Pointer) {
	bi := bindings.BindInfo{Ptr: info}
	var client bindings.ClientContext
	bindings.ScalarFunctionGetClientContext(bi, &client)
	defer bindings.DestroyClientContext(&client)
	bindings.ScalarFunctionSetBindData(bi, newCell(uint64(bindings.ClientContextGetConnectionId(client))), C.free)
	bindings.ScalarFunctionSetBindDataCopy(bi, C.tributaryCopy)
}

//export tributaryCopy
func tributaryCopy(cell unsafe.Pointer) unsafe.Pointer { return newCell(*(*uint64)(cell)) }

//export tributaryCall
func tributaryCall(info, chunk, out unsafe.Pointer) {
	fi := bindings.FunctionInfo{Ptr: info}
	f := (*(*cgo.Handle)(bindings.ScalarFunctionGetExtraInfo(fi))).Value().(*registered)
	if id := (*uint64)(bindings.ScalarFunctionGetBindData(fi)); id != nil && f.stops.has(*id) {
		bindings.ScalarFunctionSetError(fi, errStopped.Error())
		return
	}
	if err := f.call(bindings.DataChunk{Ptr: chunk}, bindings.Vector{Ptr: out}); err != nil {
		bindings.ScalarFunctionSetError(fi, err.Error())
	}
}

// call runs Call. A panic must not pass through DuckDB's frames.
func (f *Function) call(chunk bindings.DataChunk, vec bindings.Vector) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("function %s: %v", f.Name, r)
		}
	}()
	rows := int(bindings.DataChunkGetSize(chunk))
	in := make([]Column, len(f.In))
	for i := range in {
		if err := in[i].init(bindings.DataChunkGetVector(chunk, bindings.IdxT(i))); err != nil {
			return err
		}
	}
	out := &Vector{vec: vec, kind: &f.Out}
	out.clear(0, rows)
	return f.Call(in, rows, out)
}

// Vector is where a Function puts its results: row by row, in any order, each once.
type Vector struct {
	vec  bindings.Vector
	kind *Kind
	data unsafe.Pointer
	mask unsafe.Pointer
	// elements is that of a list, which has used rows and room for capacity; fields are those of a struct.
	elements       *Vector
	used, capacity int
	fields         []Vector
}

// clear makes rows NULL, and finds where the vector's memory is.
func (v *Vector) clear(from, n int) {
	bindings.VectorEnsureValidityWritable(v.vec)
	v.mask = bindings.VectorGetValidity(v.vec)
	switch v.kind.id {
	case bindings.TypeStruct:
		if v.fields == nil {
			v.fields = make([]Vector, len(v.kind.kids))
		}
		for i := range v.fields {
			v.fields[i].vec, v.fields[i].kind = bindings.StructVectorGetChild(v.vec, bindings.IdxT(i)), &v.kind.kids[i]
			v.fields[i].clear(from, n)
		}
	default:
		v.data = bindings.VectorGetData(v.vec)
	}
	for i := from; i < from+n; i++ {
		*v.word(i) &^= 1 << (uint(i) % 64)
	}
}

func (v *Vector) word(i int) *uint64 { return (*uint64)(unsafe.Add(v.mask, i/64*8)) }

func (v *Vector) valid(i int) { *v.word(i) |= 1 << (uint(i) % 64) }

func put[T any](v *Vector, i int, x T) {
	v.valid(i)
	*(*T)(unsafe.Add(v.data, uintptr(i)*unsafe.Sizeof(x))) = x
}

// SetBool sets row i of a BOOLEAN.
func (v *Vector) SetBool(i int, x bool) { put(v, i, x) }

// SetInt64 sets row i of a BIGINT.
func (v *Vector) SetInt64(i int, x int64) { put(v, i, x) }

// SetFloat64 sets row i of a DOUBLE.
func (v *Vector) SetFloat64(i int, x float64) { put(v, i, x) }

// SetBytes sets row i of a VARCHAR, which must be UTF-8, or of a BLOB. The bytes are copied.
func (v *Vector) SetBytes(i int, x []byte) {
	v.valid(i)
	if len(x) > inlineBytes {
		bindings.VectorAssignStringElementLen(v.vec, bindings.IdxT(i), x)
		return
	}
	s := (*[unsafe.Sizeof(stringT{})]byte)(unsafe.Add(v.data, uintptr(i)*unsafe.Sizeof(stringT{})))
	*s = [unsafe.Sizeof(stringT{})]byte{}
	*(*uint32)(unsafe.Pointer(s)) = uint32(len(x))
	copy(s[4:], x)
}

// SetString is SetBytes of a string.
func (v *Vector) SetString(i int, x string) {
	v.SetBytes(i, unsafe.Slice(unsafe.StringData(x), len(x)))
}

// SetList makes row i a list of n elements, which are NULL, and returns where they are: from row `at` of the elements on. The elements of a list
// made before have their places still.
func (v *Vector) SetList(i, n int) (elements *Vector, at int) {
	at = v.used
	v.used += n
	if v.elements == nil {
		v.elements = &Vector{kind: &v.kind.kids[0]}
	}
	if v.used > v.capacity {
		v.capacity = max(v.used, 2*v.capacity)
		bindings.ListVectorReserve(v.vec, bindings.IdxT(v.capacity))
	}
	bindings.ListVectorSetSize(v.vec, bindings.IdxT(v.used))
	v.elements.vec = bindings.ListVectorGetChild(v.vec)
	v.elements.clear(at, n)
	put(v, i, [2]uint64{uint64(at), uint64(n)})
	return v.elements, at
}

// SetPoint sets row i of a Point; its value is set in the vector that comes back.
func (v *Vector) SetPoint(i int, t int64) *Vector {
	v.valid(i)
	v.fields[0].SetInt64(i, t)
	return &v.fields[1]
}
