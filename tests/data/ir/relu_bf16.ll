define void @relu_bf16(ptr noalias readonly %v1) nounwind {
entry:
%v2 = getelementptr i8, ptr %v1, i64 0
%v3 = load ptr, ptr %v2, align 8
%v4 = load <4 x i16>, ptr %v3, align 2
%v5.w = zext <4 x i16> %v4 to <4 x i32>
%v5.s = shl <4 x i32> %v5.w, splat (i32 16)
%v5 = bitcast <4 x i32> %v5.s to <4 x float>
%v6.0 = insertelement <4 x float> poison, float 0.0, i64 0
%v6 = shufflevector <4 x float> %v6.0, <4 x float> poison, <4 x i32> zeroinitializer
%v7.c = fcmp olt <4 x float> %v5, %v6
%v7 = select <4 x i1> %v7.c, <4 x float> %v6, <4 x float> %v5
%v8.b = bitcast <4 x float> %v7 to <4 x i32>
%v8.h = lshr <4 x i32> %v8.b, splat (i32 16)
%v8.o = and <4 x i32> %v8.h, splat (i32 1)
%v8.p = add <4 x i32> %v8.b, splat (i32 32767)
%v8.q = add <4 x i32> %v8.p, %v8.o
%v8.t = lshr <4 x i32> %v8.q, splat (i32 16)
%v8.n = or <4 x i32> %v8.h, splat (i32 64)
%v8.u = fcmp uno <4 x float> %v7, %v7
%v8.v = select <4 x i1> %v8.u, <4 x i32> %v8.n, <4 x i32> %v8.t
%v8 = trunc <4 x i32> %v8.v to <4 x i16>
store <4 x i16> %v8, ptr %v3, align 2
ret void
}
