declare <8 x float> @llvm.masked.load.v8f32.p0(ptr, i32, <8 x i1>, <8 x float>)
declare i64 @llvm.smax.i64(i64, i64)
declare i64 @llvm.smin.i64(i64, i64)
declare void @llvm.masked.store.v8f32.p0(<8 x float>, ptr, i32, <8 x i1>)
define void @scale(ptr noalias readonly %v1) nounwind {
entry:
%c1 = alloca i64
%v2 = getelementptr i8, ptr %v1, i64 0
%v3 = load ptr, ptr %v2, align 8
%v4 = getelementptr i8, ptr %v1, i64 8
%v5 = load ptr, ptr %v4, align 8
%v6 = getelementptr i8, ptr %v1, i64 16
%v7 = load i64, ptr %v6, align 8
%v8 = load float, ptr %v5, align 4
%v9.0 = insertelement <8 x float> poison, float %v8, i64 0
%v9 = shufflevector <8 x float> %v9.0, <8 x float> poison, <8 x i32> zeroinitializer
store i64 0, ptr %c1
br label %head1
head1:
%v10 = load i64, ptr %c1
%t1 = icmp slt i64 %v10, %v7
br i1 %t1, label %body1, label %done1
body1:
%v11 = sub nsw i64 %v7, %v10
%v12 = call i64 @llvm.smin.i64(i64 %v11, i64 8)
%v13 = call i64 @llvm.smax.i64(i64 %v12, i64 0)
%v14.n = trunc i64 %v13 to i32
%v14.0 = insertelement <8 x i32> poison, i32 %v14.n, i64 0
%v14.s = shufflevector <8 x i32> %v14.0, <8 x i32> poison, <8 x i32> zeroinitializer
%v14 = icmp sgt <8 x i32> %v14.s, <i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7>
%v15 = mul nsw i64 %v10, 4
%v16 = getelementptr i8, ptr %v3, i64 %v15
%v17 = call <8 x float> @llvm.masked.load.v8f32.p0(ptr %v16, i32 4, <8 x i1> %v14, <8 x float> zeroinitializer)
%v18 = fmul <8 x float> %v9, %v17
%v19 = mul nsw i64 %v10, 4
%v20 = getelementptr i8, ptr %v3, i64 %v19
call void @llvm.masked.store.v8f32.p0(<8 x float> %v18, ptr %v20, i32 4, <8 x i1> %v14)
%n1 = add nsw i64 %v10, 8
store i64 %n1, ptr %c1
br label %head1
done1:
ret void
}
