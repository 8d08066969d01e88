define void @total(ptr noalias readonly %v1) nounwind {
entry:
%x0 = alloca double
%c1 = alloca i64
%v2 = getelementptr i8, ptr %v1, i64 0
%v3 = load ptr, ptr %v2, align 8
%v4 = getelementptr i8, ptr %v1, i64 8
%v5 = load i64, ptr %v4, align 8
store double 0.0, ptr %x0
store i64 0, ptr %c1
br label %head1
head1:
%v6 = load i64, ptr %c1
%t1 = icmp slt i64 %v6, %v5
br i1 %t1, label %body1, label %done1
body1:
%v7 = load double, ptr %x0
%v8 = mul nsw i64 %v6, 8
%v9 = getelementptr i8, ptr %v3, i64 %v8
%v10 = getelementptr i8, ptr %v9, i64 0
%v11 = load double, ptr %v10, align 8
%v12 = fadd double %v7, %v11
%v14 = mul nsw i64 %v6, 8
%v15 = getelementptr i8, ptr %v3, i64 %v14
%v16 = getelementptr i8, ptr %v15, i64 8
%v17 = load double, ptr %v16, align 8
%v18 = fadd double %v12, %v17
store double %v18, ptr %x0
%n1 = add nsw i64 %v6, 2
store i64 %n1, ptr %c1
br label %head1
done1:
%v19 = icmp slt i64 4, %v5
br i1 %v19, label %then2, label %done2
then2:
%v20 = load double, ptr %x0
%v21 = fmul double %v20, 0.1
store double %v21, ptr %x0
br label %done2
done2:
%v22 = load double, ptr %x0
store double %v22, ptr %v3, align 8
ret void
}
