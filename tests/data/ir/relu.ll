declare i64 @llvm.smax.i64(i64, i64)
declare i64 @llvm.smin.i64(i64, i64)
declare void @llvm.masked.scatter.v2f64.v2p0(<2 x double>, <2 x ptr>, i32, <2 x i1>)
define void @relu(ptr noalias readonly %v1) nounwind {
entry:
%v2 = getelementptr i8, ptr %v1, i64 0
%v3 = load ptr, ptr %v2, align 8
%v4 = getelementptr i8, ptr %v1, i64 8
%v5 = load ptr, ptr %v4, align 8
%v6 = getelementptr i8, ptr %v1, i64 16
%v7 = load i64, ptr %v6, align 8
%v8 = load <2 x double>, ptr %v3, align 8
%v9.0 = insertelement <2 x double> poison, double 0.0, i64 0
%v9 = shufflevector <2 x double> %v9.0, <2 x double> poison, <2 x i32> zeroinitializer
%v10.c = fcmp olt <2 x double> %v8, %v9
%v10 = select <2 x i1> %v10.c, <2 x double> %v9, <2 x double> %v8
%v11 = call i64 @llvm.smin.i64(i64 2, i64 2)
%v12 = call i64 @llvm.smax.i64(i64 %v11, i64 0)
%v13.n = trunc i64 %v12 to i32
%v13.0 = insertelement <2 x i32> poison, i32 %v13.n, i64 0
%v13.s = shufflevector <2 x i32> %v13.0, <2 x i32> poison, <2 x i32> zeroinitializer
%v13 = icmp sgt <2 x i32> %v13.s, <i32 0, i32 1>
%v14.0 = insertelement <2 x i64> poison, i64 %v7, i64 0
%v14.s = shufflevector <2 x i64> %v14.0, <2 x i64> poison, <2 x i32> zeroinitializer
%v14.o = mul nsw <2 x i64> %v14.s, <i64 0, i64 1>
%v14.p = getelementptr i8, ptr %v5, <2 x i64> %v14.o
call void @llvm.masked.scatter.v2f64.v2p0(<2 x double> %v10, <2 x ptr> %v14.p, i32 8, <2 x i1> %v13)
ret void
}
